# Prints the settings of an original gateway as lines of its own cmdlets, for `ogw import`. On its machine:
#   .\export-gateway.ps1 > gateway.ps1        then, on ogw's: ogw import gateway.ps1 --dry-run
# A relay proxy's password is not shown there, so it cannot be printed; `ogw relay-proxy set` takes it.
Import-Module OMSGateway -ErrorAction Stop

function Quoted($value) { "'" + ([string]$value).Trim().Replace("'", "''") + "'" }
# What a cmdlet shows is a text, or an object with one of these properties.
function Shown($item, $names) {
    foreach ($name in $names) { if ($item.PSObject.Properties[$name]) { return $item.$name } }
    if ($item -is [string] -or $item -is [ValueType]) { $item }
}

$port = Shown (Get-OMSGatewayConfig -Name ListenPort) @('Value', 'ListenPort')
if ($port) { "Set-OMSGatewayConfig -Name ListenPort -Value $(Quoted $port)" }
$proxy = Get-OMSGatewayRelayProxy
$address = Shown $proxy @('Address', 'Uri', 'Value')
if ($address) {
    $user = if ($proxy.PSObject.Properties['Username']) { $proxy.Username }
    $more = if ($user) { " -Username $(Quoted $user)" }
    "Set-OMSGatewayRelayProxy -Address $(Quoted $address)$more"
}
Get-OMSGatewayAllowedHost | ForEach-Object { Shown $_ @('Host', 'Value') } | Where-Object { $_ } |
    ForEach-Object { "Add-OMSGatewayAllowedHost -Host $(Quoted $_)" }
Get-OMSGatewayAllowedClientCertificate | ForEach-Object { Shown $_ @('Subject', 'Value') } | Where-Object { $_ } |
    ForEach-Object { "Add-OMSGatewayAllowedClientCertificate -Subject $(Quoted $_)" }
