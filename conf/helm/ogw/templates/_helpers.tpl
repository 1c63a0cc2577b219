{{- define "ogw.fullname" -}}
{{- if contains "ogw" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-ogw" (.Release.Name | trunc 46 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{- define "ogw.selector" -}}
app.kubernetes.io/name: ogw
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ogw.labels" -}}
{{ include "ogw.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The image, by its digest where there is one. */}}
{{- define "ogw.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The name of the Secret with the relay proxy's password; nothing where there is none. */}}
{{- define "ogw.secret" -}}
{{- with .Values.relayProxyPassword -}}
{{- if .existingSecret }}{{ .existingSecret }}{{ else if .value }}{{ include "ogw.fullname" $ }}{{ end }}
{{- end }}
{{- end }}

{{/* A duration of the settings in whole seconds, rounded up: (dict "root" . "name" NAME "else" ITS DEFAULT). */}}
{{- define "ogw.seconds" -}}
{{- $text := hasKey .root.Values.settings .name | ternary (get .root.Values.settings .name) .else | toString }}
{{- if not (regexMatch "^(0|[1-9][0-9]*)([.][0-9]{1,6})?(ms|s|m|h|d)?$" $text) }}
{{- fail (printf "settings.%s: %v is no duration, such as 5s or 1m; the stop of a pod follows from it" .name $text) }}
{{- end }}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 "" 1.0 }}
{{- $number := regexFind "^[0-9.]+" $text }}
{{- mulf (float64 $number) (get $units (trimPrefix $number $text)) | ceil | int }}
{{- end }}

{{- define "ogw.drainDelay" -}}
{{- include "ogw.seconds" (dict "root" . "name" "drain-delay" "else" "5s") }}
{{- end }}

{{/* preStop, drain-delay, drain-timeout, and what the gateway takes to leave. */}}
{{- define "ogw.gracePeriod" -}}
{{- $timeout := include "ogw.seconds" (dict "root" . "name" "drain-timeout" "else" "20s") }}
{{- add (mul 2 (include "ogw.drainDelay" . | int)) ($timeout | int) 10 }}
{{- end }}

{{- define "ogw.port" -}}
{{- get .Values.settings "listen-port" | default 8080 | int }}
{{- end }}

{{/* One value as the INI file has it: yes and no for booleans, and no exponent for large numbers. */}}
{{- define "ogw.value" -}}
{{- if kindIs "bool" . }}{{ ternary "yes" "no" . }}
{{- else if kindIs "float64" . }}{{ printf "%.0f" . }}
{{- else }}{{ . }}
{{- end }}
{{- end }}

{{/* Lines of the INI file: (dict "root" . "only" KIND); KIND is "restart" for settings that need one, or nothing. */}}
{{- define "ogw.lines" -}}
{{- $known := .root.Files.Get "files/settings.json" | fromJson }}
{{- $only := .only }}
{{- range $name, $value := .root.Values.settings }}
{{- $kind := get $known $name | default "" }}
{{- if not $kind }}
{{- fail (printf "settings.%s: ogw has no such setting; docs/settings.md lists all" $name) }}
{{- else if contains "chart" $kind }}
{{- fail (printf "settings.%s: the chart sets it; docs/kubernetes.md says by which value" $name) }}
{{- else if and (kindIs "slice" $value) (not (contains "list" $kind)) }}
{{- fail (printf "settings.%s: takes one value, not a list" $name) }}
{{- else if contains $only $kind }}
{{- if kindIs "slice" $value }}
{{- if $value }}
{{ $name }} =
{{- range $value }}
    {{ include "ogw.value" . }}
{{- end }}
{{- end }}
{{- else }}
{{ $name }} = {{ include "ogw.value" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ogw.ini" -}}
[ogw]
reload-on-change = yes
run-dir = /run/ogw
state-dir = /var/lib/ogw
{{- if include "ogw.secret" . }}
{{- if not (get .Values.settings "relay-proxy-username") }}
{{- fail "relayProxyPassword: settings.relay-proxy-username is needed, too; there is a password for it" }}
{{- end }}
relay-proxy-password-file = /etc/ogw-secret/{{ .Values.relayProxyPassword.key }}
{{- end }}
{{- include "ogw.lines" (dict "root" . "only" "") }}
{{- end }}
