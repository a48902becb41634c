{{- define "zoho-gateway.name" -}}
{{- if contains "zoho-gateway" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-zoho-gateway" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "zoho-gateway.selector" -}}
app.kubernetes.io/name: zoho-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "zoho-gateway.labels" -}}
{{ include "zoho-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "zoho-gateway.credentials" -}}
{{ .Values.credentials.existingSecret | default (printf "%s-credentials" (include "zoho-gateway.name" .)) }}
{{- end }}

{{- /* Contradictions that Kubernetes would accept. */ -}}
{{- define "zoho-gateway.check" -}}
{{- if not (has .Values.mode (list "service" "sidecar")) }}{{ fail "mode is \"service\" or \"sidecar\"" }}{{ end }}
{{- $several := or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled }}
{{- if and $several (not .Values.redis.url) }}{{ fail "several pods on one login exceed its thresholds: set redis.url" }}{{ end }}
{{- if and .Values.redis.url (not .Values.redis.existingSecret) }}{{ fail "redis.url needs redis.existingSecret, a Secret with the key password" }}{{ end }}
{{- if not (or .Values.credentials.existingSecret .Values.credentials.values) }}{{ fail "set credentials.existingSecret, or credentials.values" }}{{ end }}
{{- end }}

{{- /* The gateway's container, without its place in the pod. */ -}}
{{- define "zoho-gateway.container" -}}
name: zoho-gateway
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if eq .Values.mode "sidecar" }}
# Makes this container a sidecar: it starts before the service and gets SIGTERM after the service has ended.
restartPolicy: Always
{{- end }}
args: ["run", "--config", "/etc/zoho-gateway/gateway.toml"]
env:
  {{- if eq .Values.mode "service" }}
  - name: ZOHO_GATEWAY__PROXY__LISTEN
    value: "0.0.0.0:8080"
  {{- end }}
  {{- if or (eq .Values.mode "service") .Values.podMonitor.enabled }}
  - name: ZOHO_GATEWAY__ADMIN__LISTEN
    value: "0.0.0.0:9090"
  {{- end }}
  - name: ZOHO_GATEWAY__PROXY__MAX_CONNECTIONS
    value: {{ .Values.maxConnections | quote }}
  - name: ZOHO_GATEWAY__QUEUE__MAX_WAITING_BYTES
    value: {{ .Values.maxWaitingBytes | quote }}
  {{- if .Values.redis.url }}
  - name: ZOHO_GATEWAY__STATE__DIR
    value: none
  - name: ZOHO_GATEWAY__STATE__REDIS
    value: {{ .Values.redis.url | quote }}
  - name: ZOHO_GATEWAY__STATE__REDIS_USER
    value: {{ .Values.redis.user | quote }}
  - name: ZOHO_GATEWAY__STATE__REDIS_PASSWORD__FILE
    value: /run/secrets/redis/password
  {{- else }}
  - name: ZOHO_GATEWAY__STATE__DIR
    value: /var/lib/zoho-gateway/state
  {{- end }}
ports:
  {{- if eq .Values.mode "service" }}
  - name: proxy
    containerPort: 8080
  {{- end }}
  {{- if or (eq .Values.mode "service") .Values.podMonitor.enabled }}
  - name: admin
    containerPort: 9090
  {{- end }}
# The program asks its own admin listener. There is no liveness probe: a restart helps neither a refused account nor a
# full disk.
startupProbe:
  exec:
    command: ["/usr/local/bin/zoho-gateway", "healthcheck", "--config", "/etc/zoho-gateway/gateway.toml"]
  periodSeconds: 1
  timeoutSeconds: 4
  failureThreshold: 30
readinessProbe:
  exec:
    command: ["/usr/local/bin/zoho-gateway", "healthcheck", "--config", "/etc/zoho-gateway/gateway.toml"]
  periodSeconds: 10
  timeoutSeconds: 4
  failureThreshold: 2
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
volumeMounts:
  - name: gateway-config
    mountPath: /etc/zoho-gateway
    readOnly: true
  - name: zoho-credentials
    mountPath: /run/secrets/zoho
    readOnly: true
  {{- if .Values.redis.url }}
  - name: redis-password
    mountPath: /run/secrets/redis
    readOnly: true
  {{- else }}
  - name: state
    mountPath: /var/lib/zoho-gateway
  {{- end }}
{{- end }}

{{- define "zoho-gateway.volumes" -}}
- name: gateway-config
  configMap:
    name: {{ include "zoho-gateway.name" . }}
# Files, because an environment appears in process listings and crash reports.
- name: zoho-credentials
  secret:
    secretName: {{ include "zoho-gateway.credentials" . }}
    defaultMode: 0440
{{- if .Values.redis.url }}
- name: redis-password
  secret:
    secretName: {{ .Values.redis.existingSecret }}
    defaultMode: 0440
    items:
      - key: password
        path: password
{{- else }}
- name: state
  persistentVolumeClaim:
    claimName: {{ include "zoho-gateway.name" . }}
{{- end }}
{{- end }}
