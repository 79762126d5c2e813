{{/* Generated from daemon/src/rights.rs: UPDATE=1 cargo test --workspace --lib writes it anew. */}}
{{- define "holdfast.rules.observe.cluster" }}
- apiGroups:
  - ''
  resources:
  - namespaces
  verbs:
  - get
  - list
- apiGroups:
  - apiextensions.k8s.io
  resources:
  - customresourcedefinitions
  verbs:
  - get
  - list
{{- end }}
{{- define "holdfast.rules.observe.home" }}
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - velero.io
  resources:
  - '*'
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - holdfast.dev
  resources:
  - policysets
  - policysets/status
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - patch
  - delete
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end }}
{{- define "holdfast.rules.backup.cluster" }}
- apiGroups:
  - '*'
  resources:
  - '*'
  verbs:
  - get
  - list
- apiGroups:
  - snapshot.storage.k8s.io
  resources:
  - volumesnapshots
  - volumesnapshotcontents
  verbs:
  - get
  - list
  - create
  - patch
  - delete
- apiGroups:
  - snapshot.storage.k8s.io
  resources:
  - volumesnapshotcontents/status
  verbs:
  - patch
- apiGroups:
  - groupsnapshot.storage.k8s.io
  resources:
  - volumegroupsnapshots
  - volumegroupsnapshotcontents
  verbs:
  - get
  - list
  - create
  - patch
  - delete
- apiGroups:
  - groupsnapshot.storage.k8s.io
  resources:
  - volumegroupsnapshotcontents/status
  verbs:
  - patch
{{- end }}
{{- define "holdfast.rules.backup.home" }}
- apiGroups:
  - velero.io
  resources:
  - '*'
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - patch
  - delete
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - patch
  - delete
- apiGroups:
  - ''
  resources:
  - secrets
  verbs:
  - get
  - create
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - list
  - create
  - update
  - patch
{{- end }}
{{- define "holdfast.rules.restore.cluster" }}
- apiGroups:
  - '*'
  resources:
  - '*'
  verbs:
  - get
  - list
  - create
  - update
  - patch
- apiGroups:
  - groupsnapshot.storage.k8s.io
  resources:
  - volumegroupsnapshotcontents
  verbs:
  - delete
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - watch
- apiGroups:
  - rbac.authorization.k8s.io
  resources:
  - roles
  - clusterroles
  verbs:
  - escalate
  - bind
{{- end }}
{{- define "holdfast.rules.restore.home" }}
[]
{{- end }}
{{- define "holdfast.rules.policies.cluster" }}
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - create
  - patch
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end }}
{{- define "holdfast.rules.policies.home" }}
[]
{{- end }}
{{- define "holdfast.rules.hooks.cluster" }}
- apiGroups:
  - ''
  resources:
  - pods/exec
  verbs:
  - get
  - create
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - get
  - list
  - watch
{{- end }}
{{- define "holdfast.rules.hooks.home" }}
[]
{{- end }}
{{- define "holdfast.rules.node-agent.cluster" }}
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - persistentvolumes
  - persistentvolumeclaims
  verbs:
  - get
{{- end }}
{{- define "holdfast.rules.node-agent.home" }}
- apiGroups:
  - velero.io
  resources:
  - podvolumebackups
  - podvolumerestores
  - backuprepositories
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - patch
  - delete
- apiGroups:
  - velero.io
  resources:
  - backupstoragelocations
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - ''
  resources:
  - secrets
  verbs:
  - get
  - create
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - create
  - update
  - patch
{{- end }}
{{- define "holdfast.rules.install-crds.cluster" }}
- apiGroups:
  - apiextensions.k8s.io
  resources:
  - customresourcedefinitions
  verbs:
  - get
  - create
  - patch
{{- end }}
{{- define "holdfast.rules.install-crds.home" }}
[]
{{- end }}
