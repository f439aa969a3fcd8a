{{/* What every pod of the chart shares. */}}

{{- define "usage-ledger.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "usage-ledger.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
Settings that follow from the chart's values, as variables, which beat the file. Secrets are named by the
file they lie in and stand in no variable. Takes {root, role, port}.
*/}}
{{- define "usage-ledger.environment" -}}
{{- $values := .root.Values -}}
- name: USAGE_LEDGER_CONFIG
  value: /etc/usage-ledger/usage-ledger.toml
- name: USAGE_LEDGER_HTTP__LISTEN
  value: "0.0.0.0:9002"
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "usage-ledger.volumeMounts" -}}
{{- $values := .root.Values -}}
- name: config
  mountPath: /etc/usage-ledger
  readOnly: true
- name: state
  mountPath: /var/lib/usage-ledger
- name: tmp
  mountPath: /tmp
{{- end -}}
