{{/* The name of the release's objects: it fits into a label of 63 characters with what components put behind it, and has no dots, which Services do not take. */}}
{{- define "leastwatt.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := default (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) .Values.fullnameOverride -}}
{{- $full | replace "." "-" | trunc 40 | trimAll "-" -}}
{{- end -}}

{{/* The name of a component's objects: (list . "scheduler") */}}
{{- define "leastwatt.name" -}}{{ include "leastwatt.fullname" (index . 0) }}-{{ index . 1 }}{{- end -}}

{{- define "leastwatt.selector" -}}
app.kubernetes.io/name: leastwatt
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "leastwatt.ownLabels" -}}
{{ include "leastwatt.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" | trunc 63 | quote }}
{{- end -}}

{{/* The labels of a component's objects, with those that the values add: (list . "scheduler"), or with its own labels (list . "rules" LABELS) */}}
{{- define "leastwatt.labels" -}}
{{- $more := dict -}}
{{- if gt (len .) 2 }}{{ $more = index . 2 | default dict }}{{ end -}}
{{- toYaml (merge (include "leastwatt.ownLabels" . | fromYaml) $more ((index . 0).Values.commonLabels | default dict)) -}}
{{- end -}}

{{/* The labels of a component's pods, with those that its values add: (list . "scheduler" VALUES) */}}
{{- define "leastwatt.podLabels" -}}
{{- toYaml (merge (include "leastwatt.selector" . | fromYaml) ((index . 2).podLabels | default dict) ((index . 0).Values.commonLabels | default dict)) -}}
{{- end -}}

{{/* The annotations of a component's pods: (list VALUES CHECKSUM), where "" is none. */}}
{{- define "leastwatt.podAnnotations" -}}
{{- $all := dict -}}
{{- with index . 1 }}{{ $_ := set $all "checksum/config" . }}{{ end -}}
{{- with merge $all ((index . 0).podAnnotations | default dict) -}}
annotations: {{ toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* What goes before in the queue of Kubernetes' scheduler, and the default of it: (list VALUES "system-cluster-critical") */}}
{{- define "leastwatt.priority" -}}
{{- with ternary (index . 0).priorityClassName (index . 1) (hasKey (index . 0) "priorityClassName") -}}
priorityClassName: {{ . }}
{{- end -}}
{{- end -}}

{{- define "leastwatt.env" -}}
{{- with .extraEnv -}}
env: {{ toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "leastwatt.image" -}}
{{- $v := (index . 0).Values.image -}}
{{- $digest := get ($v.digests | default dict) (index . 1) -}}
image: {{ printf "%s/%s%s" $v.registry (index . 1) (ternary (printf "@%s" $digest) (printf ":%s" (default (index . 0).Chart.AppVersion $v.tag)) (not (empty $digest))) | quote }}
imagePullPolicy: {{ $v.pullPolicy }}
{{- end -}}

{{- define "leastwatt.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "leastwatt.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Of the one program that writes the host's rules. */}}
{{- define "leastwatt.netAdmin" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL], add: [NET_ADMIN]}
{{- end -}}

{{- define "leastwatt.configMap" -}}{{ default (printf "%s-config" (include "leastwatt.fullname" .)) .Values.existingConfigMap }}{{- end -}}

{{- define "leastwatt.mounts" -}}
- {name: config, mountPath: /etc/leastwatt, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- range $i, $name := .Values.secrets }}
- {name: {{ printf "secret-%d" $i }}, mountPath: {{ printf "/etc/leastwatt-secrets/%s" $name }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "leastwatt.volumes" -}}
- {name: config, configMap: {name: {{ include "leastwatt.configMap" . }}}}
- {name: tmp, emptyDir: {sizeLimit: 16Mi}}
{{- range $i, $name := .Values.secrets }}
- {name: {{ printf "secret-%d" $i }}, secret: {secretName: {{ $name }}, defaultMode: 0440}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "leastwatt.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Two replicas on two nodes, where that is possible, or what the values say: (list . "scheduler" VALUES) */}}
{{- define "leastwatt.spread" -}}
{{- if (index . 2).topologySpreadConstraints -}}
topologySpreadConstraints: {{ toYaml (index . 2).topologySpreadConstraints | nindent 2 }}
{{- else -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "leastwatt.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/* The budget of a component of several replicas: (list . "scheduler" VALUES). One of one replica would keep its node from being drained. */}}
{{- define "leastwatt.disruptionBudget" -}}
{{- $s := index . 2 -}}
{{- $b := $s.podDisruptionBudget | default dict -}}
{{- if and $b.enabled (gt (int $s.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "leastwatt.name" . }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels: {{ include "leastwatt.labels" (list (index . 0) (index . 1)) | nindent 4 }}
spec:
  minAvailable: {{ $b.minAvailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{ include "leastwatt.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* The subject of a binding: (list . "scheduler") */}}
{{- define "leastwatt.subject" -}}
subjects: [{kind: ServiceAccount, name: {{ include "leastwatt.name" . }}, namespace: {{ (index . 0).Release.Namespace }}}]
{{- end -}}

{{/* The namespace of the job service's Jobs, and the Secret and key of its token. */}}
{{- define "leastwatt.jobsNamespace" -}}{{ default .Release.Namespace .Values.jobs.namespace }}{{- end -}}
{{- define "leastwatt.jobsToken" -}}{{ default (printf "%s-token" (include "leastwatt.name" (list . "jobs"))) .Values.jobs.token.existingSecret }}{{- end -}}
{{- define "leastwatt.jobsTokenKey" -}}{{ if .Values.jobs.token.existingSecret }}{{ .Values.jobs.token.key }}{{ else }}token{{ end }}{{- end -}}

{{/* The one namespace in which programs read the Secrets that NodeProfiles name. */}}
{{- define "leastwatt.profileSecretsNamespace" -}}{{ default .Release.Namespace (.Values.profileSecrets | default dict).namespace }}{{- end -}}

{{/*
What lets a component read the Secrets that NodeProfiles name: by get, no list, no watch, no other namespace. Any of a namespace
is for one that holds nothing else, which the release's is not: (list . "scheduler")
*/}}
{{- define "leastwatt.profileSecretsRole" -}}
{{- $root := index . 0 -}}
{{- $namespace := include "leastwatt.profileSecretsNamespace" $root -}}
{{- $given := $root.Values.profileSecrets | default dict -}}
{{- $names := $given.names | default list -}}
{{- $any := and $given.namespace (not $names) -}}
{{- if eq $namespace $root.Release.Namespace -}}
{{- if $any }}{{ fail "profileSecrets: name the Secrets in names, or give BMC credentials a namespace of their own: any Secret of the release's namespace would be too many" }}{{ end -}}
{{- $names = concat $root.Values.secrets $names | uniq -}}
{{- end -}}
{{- if or $any $names }}
{{- $name := printf "%s-profile-secrets" (include "leastwatt.name" .) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{ include "leastwatt.labels" . | nindent 4 }}
rules:
  - apiGroups: [""]
    resources: [secrets]
    {{- with $names }}
    resourceNames: {{ toJson . }}
    {{- end }}
    verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{ include "leastwatt.labels" . | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $name }}}
{{ include "leastwatt.subject" . }}
{{- end }}
{{- end -}}

{{/*
Makes numbers of the texts that a file has where it wants numbers, in place, as helm's --set makes a text of a fraction: (list CONFIG PATH PATTERN), where
PATTERN is what leastwatt.numberPaths says.
*/}}
{{- define "leastwatt.numbers" -}}
{{- $in := index . 0 -}}
{{- $pattern := index . 2 -}}
{{- $number := "^[-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?$" -}}
{{- range $name, $value := $in -}}
{{- $at := printf "%s.%s" (index $ 1) $name -}}
{{- if kindIs "map" $value -}}
{{- include "leastwatt.numbers" (list $value $at $pattern) -}}
{{- else if kindIs "slice" $value -}}
{{- $all := list -}}
{{- range $value -}}
{{- if kindIs "map" . }}{{ include "leastwatt.numbers" (list . (print $at "[]") $pattern) }}{{ end -}}
{{- $all = append $all (ternary (float64 .) . (and (kindIs "string" .) (regexMatch $pattern (print $at "[]")) (regexMatch $number (toString .)))) -}}
{{- end -}}
{{- $_ := set $in $name $all -}}
{{- else if and (kindIs "string" $value) (regexMatch $pattern $at) (regexMatch $number $value) -}}
{{- $_ := set $in $name (float64 $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "leastwatt.numberPaths" -}}
{{- $all := list -}}
{{- range .Files.Lines "files/numbers.txt" }}{{ with trim . }}{{ $all = append $all (. | replace "." "[.]" | replace "[]" "\\[\\]" | replace "*" ".+") }}{{ end }}{{ end -}}
^[.]({{ join "|" $all }})$
{{- end -}}

{{/* What programs read of servers, as YAML: (list . CONFIG) */}}
{{- define "leastwatt.config" -}}
{{- $config := deepCopy (index . 1) -}}
{{- include "leastwatt.numbers" (list $config "" (include "leastwatt.numberPaths" (index . 0))) -}}
{{- toYaml $config -}}
{{- end -}}

{{/*
The claim that a component keeps its data in, which is left when the release goes, unless the values name one: (list . "jobs" PERSISTENCE). What cannot change
of one that there is, is refused before anything is applied.
*/}}
{{- define "leastwatt.claim" -}}
{{- $root := index . 0 -}}
{{- $kept := index . 2 -}}
{{- if not $kept.existingClaim -}}
{{- $name := include "leastwatt.name" . -}}
{{- $there := (lookup "v1" "PersistentVolumeClaim" $root.Release.Namespace $name).spec | default dict -}}
{{- $class := get $there "storageClassName" -}}
{{- if and $there $kept.storageClassName (ne $kept.storageClassName (toString $class)) -}}
{{- fail (printf "%s.persistence.storageClassName is %q: the claim %s is there with %q, which cannot change: make another, copy what is in it, and name it in %s.persistence.existingClaim" (index . 1) $kept.storageClassName $name (toString $class) (index . 1)) -}}
{{- end }}
---
# What was accepted or learned is in here, so it is left when the release goes.
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{ include "leastwatt.labels" (list $root (index . 1)) | nindent 4 }}
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: {{ toJson $kept.accessModes }}
  {{- with $kept.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ $kept.size }}}}
{{- end }}
{{- end -}}

{{/* Whether a list of sources, or what they fall back to, has metrics.k8s.io of this cluster: "" is no. */}}
{{- define "leastwatt.asksMetricsServer" -}}
{{- range . -}}
{{- if and (eq (toString .type) "metrics.k8s.io") (not .url) }}true{{ end -}}
{{- include "leastwatt.asksMetricsServer" (.fallback | default list) -}}
{{- end -}}
{{- end -}}

{{/* What lets a component read metrics.k8s.io where it is told to, or config has such a source: (list . "scheduler" TOLD) */}}
{{- define "leastwatt.metricsServerRole" -}}
{{- $root := index . 0 -}}
{{- $asks := and (not $root.Values.existingConfigMap) (include "leastwatt.asksMetricsServer" ($root.Values.config.sensors.sources | default list)) -}}
{{- if or (index . 2) $asks }}
{{- $name := printf "%s-metrics-server" (include "leastwatt.name" .) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels: {{ include "leastwatt.labels" (list $root (index . 1)) | nindent 4 }}
rules:
  - {apiGroups: [metrics.k8s.io], resources: [nodes], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels: {{ include "leastwatt.labels" (list $root (index . 1)) | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }}}
{{ include "leastwatt.subject" . }}
{{- end }}
{{- end -}}

{{/* Arguments of a plugin as it reads them: helm's --set makes a text of a fraction, and a number of a whole quantity. */}}
{{- define "leastwatt.args" -}}
{{- $args := deepCopy . -}}
{{- range $name := list "podUsageAssumption" "gpuUsageAssumption" -}}
{{- with index $args $name }}{{ $_ := set $args $name (float64 .) }}{{ end -}}
{{- end -}}
{{- with $args.defaultPodCPU }}{{ $_ := set $args "defaultPodCPU" (toString .) }}{{ end -}}
{{- range $cap := $args.caps -}}
{{- with $cap.watts }}{{ $_ := set $cap "watts" (float64 .) }}{{ end -}}
{{- range $group, $watts := $cap.groups }}{{ $_ := set $cap.groups $group (float64 $watts) }}{{ end -}}
{{- end -}}
{{- toYaml $args -}}
{{- end -}}

{{/* Arguments of a plugin, over those of the plugin LeastWatt that it takes too: (list ARGS-OF-LEASTWATT ITS-OWN) */}}
{{- define "leastwatt.sharedArgs" -}}
{{- $args := pick (index . 0) "config" "podUsageAssumption" "defaultPodCPU" "utilization" "gpuResources" "gpuUsageAssumption" -}}
{{- range $name, $value := index . 1 }}{{ $_ := set $args $name $value }}{{ end -}}
{{- include "leastwatt.args" $args -}}
{{- end -}}

{{/* One of scheduler.extraProfiles, with what it leaves out as the scheduler has it, as JSON: (list SCHEDULER PROFILE) */}}
{{- define "leastwatt.extraProfile" -}}
{{- $s := index . 0 -}}
{{- $p := index . 1 -}}
{{- $out := dict "schedulerName" $p.schedulerName -}}
{{- range $name := list "mode" "weight" "disabledScores" -}}
{{- $_ := set $out $name (hasKey $p $name | ternary (index $p $name) (index $s $name)) -}}
{{- end -}}
{{- if hasKey $p "percentageOfNodesToScore" }}{{ $_ := set $out "percentageOfNodesToScore" $p.percentageOfNodesToScore }}{{ end -}}
{{- range $name := list "args" "powerCap" "spreadRate" "placement" -}}
{{- $both := deepCopy (index $s $name | default dict) -}}
{{- range $key, $value := index $p $name }}{{ $_ := set $both $key $value }}{{ end -}}
{{- $_ := set $out $name $both -}}
{{- end -}}
{{- if $p.objective }}{{ $_ := set $out.args "config" (printf "/etc/leastwatt/objective-%s.yaml" $p.schedulerName) }}{{ end -}}
{{- toJson $out -}}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "leastwatt.portOf" -}}
{{- $port := regexReplaceAll "^(?:https?|grpcs?)://[^/]*?(:([0-9]+))?(/.*)?$" . "${2}" -}}
{{- default (ternary "443" "80" (hasPrefix "https:" .)) $port -}}
{{- end -}}

{{/* The ports of all that a component's values send it to, as JSON: (list . "scheduler") */}}
{{- define "leastwatt.portsOf" -}}
{{- $v := (index . 0).Values -}}
{{- $component := index . 1 -}}
{{- $said := toYaml $v.config -}}
{{- $ports := list -}}
{{- if eq $component "shift" }}{{ $said = $v.shift.grid }}{{ end -}}
{{- if eq $component "scheduler" }}{{ $said = printf "%s\n%s" $said (toYaml $v.scheduler.extraProfiles) }}{{ end -}}
{{- if eq $component "jobs" }}{{ $said = printf "%s\n%s\n%s" $v.jobs.grid $v.jobs.nodes (toYaml $v.jobs.scrape) }}{{ end -}}
{{- if eq $component "jobs-push" }}{{ $said = printf "%s\n%s" $v.jobsPush.scaphandre $v.jobsPush.url }}{{ end -}}
{{- $own := index $v (camelcase $component | untitle) -}}
{{- $said = printf "%s\n%s" $said (printf "%s\n%s" (toYaml $own.extraArgs) (toYaml $own.extraEnv) | replace "," "\n") -}}
{{- range regexFindAll "(https?|grpcs?)://[^\n]*" $said -1 -}}
{{- $port := include "leastwatt.portOf" (trimAll "'\" " .) -}}
{{- if regexMatch "^[0-9]+$" $port }}{{ $ports = append $ports $port }}{{ end -}}
{{- end -}}
{{- if or (eq $component "shift") (eq $component "jobs") }}{{ $ports = append $ports "443" }}{{ end -}}
{{- /* A policy counts where a Service leads: the port of its pods. */}}
{{- if and (eq $component "jobs-push") (or (not $v.jobsPush.url) (regexMatch "^http://[^/:]*[.]svc" $v.jobsPush.url)) }}{{ $ports = append $ports (toString $v.jobs.port) }}{{ end -}}
{{- if or (eq $component "controller") (and (eq $component "scheduler") $v.scheduler.profiles) (and (eq $component "metrics-adapter") $v.metricsAdapter.profiles) -}}
{{- if $v.controller.compatibility.waoLabels }}{{ $ports = concat $ports (list "9290" "8501") }}{{ end -}}
{{- if $v.controller.compatibility.peaksConfigMap }}{{ $ports = append $ports "2020" }}{{ end -}}
{{- end -}}
{{- toJson (uniq $ports | sortAlpha) -}}
{{- end -}}

{{/*
The certificate of a component's Service, as YAML of crt, key and ca in base64: the one that its Secret has, so that it is kept over upgrades, or a
new one: (list . "metrics-adapter"). Included once a template: each time it may make another one.
*/}}
{{- define "leastwatt.certificate" -}}
{{- $name := include "leastwatt.name" . -}}
{{- $root := index . 0 -}}
{{- $host := printf "%s.%s.svc" $name $root.Release.Namespace -}}
{{- $kept := lookup "v1" "Secret" $root.Release.Namespace (printf "%s-tls" $name) -}}
{{- $crt := dig "data" "tls.crt" "" $kept -}}
{{- $key := dig "data" "tls.key" "" $kept -}}
{{- $bundle := dig "data" "ca.crt" "" $kept -}}
{{- if not (and $crt $key $bundle) -}}
{{- $ca := genCA (printf "%s-ca" $name) 3650 -}}
{{- $cert := genSignedCert $host nil (list $host) 3650 $ca -}}
{{- $crt = b64enc $cert.Cert -}}
{{- $key = b64enc $cert.Key -}}
{{- $bundle = b64enc $ca.Cert -}}
{{- end -}}
crt: {{ $crt }}
key: {{ $key }}
ca: {{ $bundle }}
{{- end -}}

{{/* Refuses two listeners of one pod at one port, with which it would not start; 0 is none: (list "controller" (dict "metricsPort" 8080 "healthPort" 8081)) */}}
{{- define "leastwatt.listeners" -}}
{{- $component := index . 0 -}}
{{- $had := dict -}}
{{- range $name, $port := index . 1 -}}
{{- $port := toString $port -}}
{{- with get $had $port }}{{ fail (printf "%s.%s and %s.%s are both %s: give each a port of its own" $component . $component $name $port) }}{{ end -}}
{{- if ne $port "0" }}{{ $_ := set $had $port $name }}{{ end -}}
{{- end -}}
{{- end -}}
