{{- define "holdfast.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What Helm's users look for, beside the labels by which pods are selected. */}}
{{- define "holdfast.labels" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Selectors can't be changed later: no version and nothing of the installer's. */}}
{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "holdfast.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "holdfast.identity" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: VELERO_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}

{{- /* The flags of `holdfast run`, as a list. */}}
{{- define "holdfast.arguments" -}}
- run
{{- if not (has "*" .Values.hooks.namespaces) }}
- {{ printf "--allow-hooks-in=%s" (join "," .Values.hooks.namespaces) | quote }}
{{- end }}
{{- if ne .Values.mode "full" }}
- --mode={{ .Values.mode }}
{{- end }}
{{- with .Values.clusterName }}
- {{ printf "--cluster-name=%s" . | quote }}
{{- end }}
{{- with .Values.policies.selector }}
- {{ printf "--policy-selector=%s" . | quote }}
{{- end }}
{{- range .Values.policies.configMaps }}
- {{ printf "--policy-configmap=%s" . | quote }}
{{- end }}
{{- if .Values.policies.files }}
- --policy-configmap=values=$(VELERO_NAMESPACE)/holdfast-policies
{{- end }}
{{- if .Values.policies.git.enabled }}
- {{ printf "--policies=git=/git/checkout/%s" .Values.policies.git.folder | trimSuffix "/" | quote }}
{{- end }}
{{- if .Values.web.enabled }}
- --web-address=:{{ .Values.web.port }}
{{- if .Values.web.tokenSecret }}
- --web-token-file=/etc/holdfast/web/token
{{- end }}
{{- end }}
{{- if .Values.nodeAgent.enabled }}
- {{ printf "--restore-helper-image=%s" (include "holdfast.image" .) | quote }}
{{- end }}
{{- range .Values.arguments }}
- {{ . | quote }}
{{- end }}
{{- end }}
