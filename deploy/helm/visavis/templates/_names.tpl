{{- define "visavis.name" -}}
{{- printf "%s-visavis" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "visavis.selector" -}}
app.kubernetes.io/name: visavis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "visavis.labels" -}}
{{ include "visavis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "visavis.secret" -}}
{{- .Values.existingSecret | default (include "visavis.name" .) -}}
{{- end -}}
