{{- /* A role in its two places, and what binds it. In: root, role, account, places ("*" is everywhere). */}}
{{- define "holdfast.bind" }}
{{- $root := .root }}
{{- $name := printf "holdfast-%s" .role }}
{{- $cluster := include (printf "holdfast.rules.%s.cluster" .role) $root | trim }}
{{- $home := include (printf "holdfast.rules.%s.home" .role) $root | trim }}
{{- $account := .account }}
{{- if ne $cluster "[]" }}
{{- if $root.Values.rights.clusterRoles }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels:
    {{- include "holdfast.labels" $root | nindent 4 }}
rules:
{{ $cluster }}
{{- end }}
{{- range .places }}
---
apiVersion: rbac.authorization.k8s.io/v1
{{- if eq . "*" }}
kind: ClusterRoleBinding
{{- else }}
kind: RoleBinding
{{- end }}
metadata:
  name: {{ $name }}-{{ $root.Release.Namespace }}
  {{- if ne . "*" }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "holdfast.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
- kind: ServiceAccount
  name: {{ $account }}
  namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}
{{- if ne $home "[]" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "holdfast.labels" $root | nindent 4 }}
rules:
{{ $home }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "holdfast.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
- kind: ServiceAccount
  name: {{ $account }}
  namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}
