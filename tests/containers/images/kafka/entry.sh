#!/bin/bash
# KAFKA_NODE_ID=1 becomes node.id=1, as in the public image; CLUSTER_ID names the cluster.
set -euf # -f: "libs/*" must reach java unexpanded

properties=$(mktemp -d)/server.properties
while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS | KAFKA_OPTS) ;;
    KAFKA_*)
      name=${name#KAFKA_}
      name=${name,,}
      printf '%s=%s\n' "${name//_/.}" "$value"
      ;;
  esac
done < <(env) >"$properties"

java=(/opt/jre/bin/java -Dlog4j2.configurationFile=/opt/kafka/log4j2.yaml -cp '/opt/kafka/libs/*')
# With "=", because an ID may start with "-".
"${java[@]}" -Xmx64m kafka.tools.StorageTool format --ignore-formatted \
  --cluster-id="${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" --config "$properties" >&2
# Word splitting is meant: several options stand in one variable.
# shellcheck disable=SC2086
exec "${java[@]}" ${KAFKA_HEAP_OPTS:--Xmx512m} kafka.Kafka "$properties"
