{{/* What every pod of the chart shares. */}}

{{/* A hook comes before the release's own ServiceAccount, so it takes the namespace's default one. */}}
{{- define "usage-ledger.podSpec" -}}
{{- if not .hook }}
serviceAccountName: {{ include "usage-ledger.serviceAccountName" . }}
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
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

{{/* Takes {root, path}. The kubelet does not check the certificate. */}}
{{- define "usage-ledger.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ include "usage-ledger.scheme" .root }}
{{- end -}}

{{/* What serve does itself: the parts whose role is switched off. */}}
{{- define "usage-ledger.serveParts" -}}
{{- $parts := list -}}
{{- range $part, $role := dict "intake" "intake" "project" "project" "relay" "relay" "jobs" "jobs" "tree" "tree" "views" "faust" -}}
{{- if not (index $.Values.roles $role).enabled -}}{{- $parts = append $parts $part -}}{{- end -}}
{{- end -}}
{{- default "none" (join "," $parts) -}}
{{- end -}}

{{/*
Takes {root, role}. Who does not speak Kafka is not told where it is, and does not get its credentials; serve
reads meters and alerts from it where Faust makes them.
*/}}
{{- define "usage-ledger.speaksKafka" -}}
{{- if and .root.Values.kafka.bootstrapServers (has .role (list "serve" "intake" "relay" "faust" "topics")) -}}true{{- end -}}
{{- end -}}

{{/* Takes {root, role}. Who signs heads: on a schedule, and when it is asked to. */}}
{{- define "usage-ledger.signs" -}}
{{- if and .root.Values.signingKey.secretName (has .role (list "serve" "jobs")) -}}true{{- end -}}
{{- end -}}

{{/*
Settings that follow from the chart's values, as variables, which beat the file. A secret is named by the
file it lies in, and stands in no variable. Takes {root, role}.
*/}}
{{- define "usage-ledger.environment" -}}
{{- $values := .root.Values -}}
- name: USAGE_LEDGER_CONFIG
  value: /etc/usage-ledger/usage-ledger.toml
- name: USAGE_LEDGER_HTTP__LISTEN
  value: "0.0.0.0:9002"
- name: USAGE_LEDGER_STORE
  value: postgres
- name: USAGE_LEDGER_POSTGRES__URLS
  value: {{ join "," $values.postgres.urls | quote }}
- name: USAGE_LEDGER_POSTGRES__PASSWORD_FILE
  value: /run/secrets/usage-ledger/postgres/{{ $values.postgres.passwordKey }}
{{- if include "usage-ledger.speaksKafka" . }}
{{- with $values.kafka }}
- name: USAGE_LEDGER_KAFKA__BOOTSTRAP_SERVERS
  value: {{ .bootstrapServers | quote }}
- name: USAGE_LEDGER_KAFKA__GROUP_ID
  value: {{ .groupId | quote }}
- name: USAGE_LEDGER_KAFKA__TOPICS__USAGE_EVENTS
  value: {{ .topics.usageEvents | quote }}
{{- if .tls.enabled }}
- name: USAGE_LEDGER_KAFKA__TLS
  value: "true"
{{- if .tls.secretName }}
- name: USAGE_LEDGER_KAFKA__CA_FILE
  value: /run/secrets/usage-ledger/kafka-tls/ca.crt
{{- if .tls.clientCertificate }}
- name: USAGE_LEDGER_KAFKA__CERT_FILE
  value: /run/secrets/usage-ledger/kafka-tls/tls.crt
- name: USAGE_LEDGER_KAFKA__KEY_FILE
  value: /run/secrets/usage-ledger/kafka-tls/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- if ne .sasl.mechanism "none" }}
- name: USAGE_LEDGER_KAFKA__SASL_MECHANISM
  value: {{ .sasl.mechanism }}
- name: USAGE_LEDGER_KAFKA__SASL_USERNAME
  value: {{ .sasl.username | quote }}
- name: USAGE_LEDGER_KAFKA__SASL_PASSWORD_FILE
  value: /run/secrets/usage-ledger/kafka-sasl/{{ .sasl.key }}
{{- end }}
{{- end }}
{{- end }}
{{- with $values.tls.secretName }}
- name: USAGE_LEDGER_TLS__CERT_FILE
  value: /run/secrets/usage-ledger/tls/tls.crt
- name: USAGE_LEDGER_TLS__KEY_FILE
  value: /run/secrets/usage-ledger/tls/tls.key
{{- if $values.tls.clientCertificates }}
- name: USAGE_LEDGER_TLS__CLIENT_CA_FILE
  value: /run/secrets/usage-ledger/tls/ca.crt
{{- end }}
{{- end }}
{{- if $values.tokens.secretName }}
- name: USAGE_LEDGER_AUTH__TOKENS_FILE
  value: /run/secrets/usage-ledger/tokens/{{ $values.tokens.key }}
{{- end }}
{{- if $values.insecure }}
- name: USAGE_LEDGER_INSECURE
  value: "true"
{{- end }}
{{- if $values.roles.faust.enabled }}
- name: USAGE_LEDGER_LIVE_VIEWS__FOLDED_BY
  value: faust
{{- end }}
- name: USAGE_LEDGER_FREE_CREDIT_KEY_FILE
  value: /run/secrets/usage-ledger/free-credit/{{ $values.freeCreditKey.key }}
{{- if include "usage-ledger.signs" . }}
- name: USAGE_LEDGER_AUDIT__SIGNING_KEY_FILE
  value: /run/secrets/usage-ledger/signing/{{ $values.signingKey.key }}
- name: USAGE_LEDGER_AUDIT__KEYS_FILE
  value: /run/secrets/usage-ledger/signing/{{ $values.signingKey.listKey }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Secrets are folders and not single files, so that a renewed certificate or token appears in them. Takes
{root, role}.
*/}}
{{- define "usage-ledger.volumeMounts" -}}
{{- $values := .root.Values -}}
{{- $kafka := include "usage-ledger.speaksKafka" . -}}
- name: config
  mountPath: /etc/usage-ledger
  readOnly: true
- name: postgres
  mountPath: /run/secrets/usage-ledger/postgres
  readOnly: true
- name: free-credit
  mountPath: /run/secrets/usage-ledger/free-credit
  readOnly: true
{{- if include "usage-ledger.signs" . }}
- name: signing
  mountPath: /run/secrets/usage-ledger/signing
  readOnly: true
{{- end }}
{{- if $values.tls.secretName }}
- name: tls
  mountPath: /run/secrets/usage-ledger/tls
  readOnly: true
{{- end }}
{{- if $values.tokens.secretName }}
- name: tokens
  mountPath: /run/secrets/usage-ledger/tokens
  readOnly: true
{{- end }}
{{- if and $kafka $values.kafka.tls.enabled $values.kafka.tls.secretName }}
- name: kafka-tls
  mountPath: /run/secrets/usage-ledger/kafka-tls
  readOnly: true
{{- end }}
{{- if and $kafka (ne $values.kafka.sasl.mechanism "none") }}
- name: kafka-sasl
  mountPath: /run/secrets/usage-ledger/kafka-sasl
  readOnly: true
{{- end }}
- name: state
  mountPath: /var/lib/usage-ledger
- name: tmp
  mountPath: /tmp
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes {root, role, config}: the name of the ConfigMap. */}}
{{- define "usage-ledger.volumes" -}}
{{- $values := .root.Values -}}
{{- $kafka := include "usage-ledger.speaksKafka" . -}}
- name: config
  configMap:
    name: {{ .config }}
- name: postgres
  secret:
    secretName: {{ required "postgres.secretName is empty: name the Secret that holds the databases' password" $values.postgres.secretName }}
- name: free-credit
  secret:
    secretName: {{ required "freeCreditKey.secretName is empty: name the Secret that holds at least 32 random bytes, the same for ever" $values.freeCreditKey.secretName }}
{{- if include "usage-ledger.signs" . }}
- name: signing
  secret:
    secretName: {{ $values.signingKey.secretName }}
{{- end }}
{{- with $values.tls.secretName }}
- name: tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- with $values.tokens.secretName }}
- name: tokens
  secret:
    secretName: {{ . }}
{{- end }}
{{- if and $kafka $values.kafka.tls.enabled $values.kafka.tls.secretName }}
- name: kafka-tls
  secret:
    secretName: {{ $values.kafka.tls.secretName }}
{{- end }}
{{- if and $kafka (ne $values.kafka.sasl.mechanism "none") }}
- name: kafka-sasl
  secret:
    secretName: {{ required "kafka.sasl.secretName is empty: name the Secret that holds the password" $values.kafka.sasl.secretName }}
{{- end }}
# Nothing that must last: the databases and the topics have everything.
- name: state
  emptyDir: {sizeLimit: {{ $values.stateSizeLimit }}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
