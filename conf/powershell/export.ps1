# Prints the settings of the original gateway on this machine as lines that `ogw import` understands.
#
# On the old gateway, in a PowerShell of an administrator:
#     .\export.ps1 > settings.ps1
# Read settings.ps1: its lines are what the old gateway would be given. Then, on the new one:
#     ogw import --dry-run settings.ps1
#     ogw import settings.ps1
# A password of the relay proxy cannot be read back, and so is not in it: ogw relay-proxy set --password-stdin

Import-Module OMSGateway

function Quoted($value) { "'" + "$value".Trim().Replace("'", "''") + "'" }

# A text is taken as it is, of anything else the first of its properties.
function Text($value) {
    if ($value -is [string] -or $value -is [ValueType]) { "$value" }
    else { "$(($value.PSObject.Properties | Select-Object -First 1).Value)" }
}

$port = "$(Get-OMSGatewayConfig -Name ListenPort | Out-String)"
if ($port -match '\d{1,5}') { "Set-OMSGatewayConfig -Name ListenPort -Value $($Matches[0])" }

$proxy = "$(Get-OMSGatewayRelayProxy | Out-String)"
if ($proxy -match 'https?://[^\s;,]+') { "Set-OMSGatewayRelayProxy -Address $(Quoted $Matches[0])" }

foreach ($one in @(Get-OMSGatewayAllowedHost)) {
    if (Text $one) { "Add-OMSGatewayAllowedHost -Host $(Quoted (Text $one))" }
}
foreach ($one in @(Get-OMSGatewayAllowedClientCertificate)) {
    if (Text $one) { "Add-OMSGatewayAllowedClientCertificate -Subject $(Quoted (Text $one))" }
}
