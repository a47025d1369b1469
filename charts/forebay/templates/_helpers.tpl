{{/* The labels of everything. Call with (dict "root" $ "component" "operator"). */}}
{{- define "forebay.labels" -}}
{{ include "forebay.selector" . }}
app.kubernetes.io/part-of: forebay
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* The labels by which pods are selected: they never change, or an upgrade would be refused. */}}
{{- define "forebay.selector" -}}
app.kubernetes.io/name: forebay-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* An image of ours. Call with (dict "root" $ "name" "forebay-operator"). */}}
{{- define "forebay.image" -}}
{{ printf "%s/%s:%s" .root.Values.image.registry .name (.root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end }}

{{- define "forebay.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a pod needs that touches nothing of its node. */}}
{{- define "forebay.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "forebay.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a pod may run. Call with the part's values. */}}
{{- define "forebay.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* A part's values, with a toleration of the taint that is only lifted once the part runs. */}}
{{- define "forebay.warming" -}}
{{- $warming := dict "key" "forebay.io/warming" "operator" "Exists" }}
{{- merge (dict "tolerations" (append .tolerations $warming)) . | toYaml }}
{{- end }}

{{/* The driver is asked through its own socket. It is given up late: with it, its live mounts change hands. */}}
{{- define "forebay.csiProbes" -}}
readinessProbe:
  exec: {command: [/forebay-csi, probe]}
  periodSeconds: 10
  timeoutSeconds: 10
livenessProbe:
  exec: {command: [/forebay-csi, probe]}
  initialDelaySeconds: 10
  periodSeconds: 20
  timeoutSeconds: 15
  failureThreshold: 6
{{- end }}
