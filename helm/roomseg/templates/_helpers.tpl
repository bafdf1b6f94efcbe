{{/* Labels of everything in the chart. */}}
{{- define "roomseg.labels" -}}
app.kubernetes.io/name: roomseg
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels that select the pods of one component: (dict "root" $ "component" "mlflow"). */}}
{{- define "roomseg.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "roomseg.fullname" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Secret with the keys to the store: the one given, that of the chart's own object store, or none (IRSA). */}}
{{- define "roomseg.s3Secret" -}}
{{- if .Values.s3.existingSecret }}{{ .Values.s3.existingSecret }}
{{- else if .Values.objectStore.enabled }}{{ include "roomseg.fullname" . }}-object-store
{{- end }}
{{- end }}

{{- define "roomseg.s3Endpoint" -}}
{{- if .Values.s3.endpoint }}{{ .Values.s3.endpoint }}
{{- else if .Values.objectStore.enabled }}http://{{ include "roomseg.fullname" . }}-object-store.{{ .Release.Namespace }}.svc:8333
{{- end }}
{{- end }}

{{/* Environment of a container that reads and writes the store. */}}
{{- define "roomseg.s3Env" -}}
- name: AWS_DEFAULT_REGION
  value: {{ .Values.s3.region | quote }}
{{- with include "roomseg.s3Endpoint" . }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
- name: MLFLOW_S3_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- $secret := include "roomseg.s3Secret" . }}
{{- if $secret }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ . }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Of every pod and container: nobody special, nothing to write to but the volumes. */}}
{{- define "roomseg.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "roomseg.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "roomseg.databaseSecret" -}}
{{ .Values.mlflow.existingDatabaseSecret | default (printf "%s-postgresql" (include "roomseg.fullname" .)) }}
{{- end }}

{{/* Whether the chart runs a PostgreSQL of its own. */}}
{{- define "roomseg.ownDatabase" -}}
{{- if and .Values.mlflow.enabled (not .Values.mlflow.existingDatabaseSecret) }}yes{{ end }}
{{- end }}
