{{- define "visavis.name" -}}
{{- printf "%s-visavis" .Release.Name | trunc 54 | trimSuffix "-" -}}
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

{{/* Not empty where there are several nodes, which find each other in Redis. */}}
{{- define "visavis.many" -}}
{{- if or .Values.redis.url .Values.redis.inExistingSecret }}many{{ end -}}
{{- end -}}

{{/* The most pods that there can be: each has a Service and a path of its own. */}}
{{- define "visavis.most" -}}
{{- $replicas := int .Values.replicas -}}
{{- if and (ne .Values.scaling.by "none") (not (has .Values.scaling.by (list "hpa" "keda"))) -}}
{{- fail "scaling.by is none, hpa or keda" -}}
{{- end -}}
{{- $most := ternary $replicas (int .Values.scaling.most) (eq .Values.scaling.by "none") -}}
{{- if and (gt $most 1) (not (include "visavis.many" .)) -}}
{{- fail "more than one receiver needs redis.url, or redis.inExistingSecret: rooms are found there" -}}
{{- end -}}
{{- if and (include "visavis.many" .) (not .Values.ingress.enabled) -}}
{{- fail "several receivers need ingress.enabled: each is reached below a path of one host" -}}
{{- end -}}
{{- $most -}}
{{- end -}}
