#!/bin/sh
# A newcomer's first hour with the package, on a Debian that has never seen ogw: first_hour.sh THIS.deb NEXT.deb VERSION
#
# www.example.com and www.example.org are servers on this machine; authority.pem, in this folder, is who they are by.
set -eu
this=$1 next=$2 version=$3

step() {
    echo "--- $*"
}

told() { # what a command said
    cat said
    grep -q -e "$1" said || { echo "it did not say: $1"; exit 1; }
}

soon() { # what a command says in the end: a log is written a moment later
    wanted=$1 tries=600
    shift
    until "$@" >said 2>&1 && grep -q -e "$wanted" said; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || told "$wanted"
        sleep 0.1
    done
}

visit() { # a page, through the gateway
    curl --silent --show-error --include --max-time 60 --cacert authority.pem --proxy http://127.0.0.1:8080 \
        "https://$1/" >said 2>&1 || { cat said; return 1; }
}

step "Install the package: it is set up to start with the machine, and serves nobody before it knows whom"
apt-get install --yes "$this" </dev/null >said 2>&1
told "no host is allowed yet, so the gateway was not started"
[ "$(systemctl is-enabled ogw)" = enabled ]
! systemctl --quiet is-active ogw
! visit www.example.com

step "Set it up without a question"
ogw setup --yes --allowed-host "www.example.com to=127.0.0.0/8" --admin-page yes </dev/null >said 2>&1
told "done: start the service, now and with the machine"
[ ! -e /etc/systemd/system/ogw.service ] # the package's own is in force
ogw setup --yes >said 2>&1
told "Nothing to do: all of this is done already."

step "A page through it, and one that is refused"
visit www.example.com
told "hello"
! visit www.example.org
told "403"

step "Who asks the gateway is told what was refused: its page, its log, its status"
soon "www.example.org" curl --silent --show-error --max-time 60 http://127.0.0.1:9180/
soon '"event": 105, .*www.example.org' journalctl --unit ogw --output cat
soon "www.example.org" ogw status

step "Another host, without a restart"
before=$(systemctl show --property MainPID ogw)
ogw allowed-host add www.example.org --to 127.0.0.0/8 --note "the first hour" --reload >said
visit www.example.org
told "hello"
[ "$(systemctl show --property MainPID ogw)" = "$before" ]

step "Upgrade it: what was configured stays, without a question, and the new version serves"
cp -p /etc/ogw/ogw.ini before.ini
apt-get install --yes "$next" </dev/null >said 2>&1
cat said
cmp /etc/ogw/ogw.ini before.ini
[ "$(stat -c '%U:%G %a' /etc/ogw/ogw.ini)" = "root:ogw 640" ]
ogw status >said
told "ogw $version"
visit www.example.org
told "hello"

step "Uninstall it: the configuration stays; install it again, and it serves as before"
apt-get remove --yes ogw </dev/null >said 2>&1
! visit www.example.org
cmp /etc/ogw/ogw.ini before.ini
apt-get install --yes "$next" </dev/null >said 2>&1
visit www.example.org
told "hello"

step "Purge it"
apt-get purge --yes ogw </dev/null >said 2>&1
cat said
! visit www.example.org
