#!/bin/sh
# The privileged step after a restore, and at every normal start: checks the web server's TLS files, tests its
# configuration, reloads it gracefully (or starts it), and looks whether it serves the new certificate.
#
# It takes no arguments and reads nothing from its caller, so that a sudo rule for it needs no wildcard. What it works on
# stands in one file that only root may write. Until the last check nothing is changed: a configuration that is wrong
# leaves the running server as it is. It can be run again at any time.
#
# Exit codes: 0 the web server serves the certificate; 2 arguments were given; 10 the configuration file is missing, wrong or
# not only root's; 11 key and certificate are missing or do not belong together; 12 the web server's configuration is wrong;
# 13 the web server could not be reloaded; 14 it does not serve the certificate in time; 15 another run is under way.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset IFS CDPATH ENV BASH_ENV
umask 077
configuration=/etc/strongroom/web-server.conf

fail() { # code words
  code=$1
  shift
  echo "wizard_auto_restore_success: $*" >&2
  exit "$code"
}

[ $# -eq 0 ] || fail 2 "takes no arguments"

# Owned by whoever runs this, which is root under sudo, and open to nobody else: whoever can read it could hold its lock.
safe=$(find "$configuration" -maxdepth 0 -type f -uid "$(id -u)" ! -perm /077 2>/dev/null) || safe=
[ -n "$safe" ] || fail 10 "$configuration is missing, not root's, or others may read or write it"
TLS_DIR='' WEB_ADDRESS='' WEB_NAME='' WEB_TEST='apache2ctl configtest' WEB_RELOAD='apache2ctl graceful' WEB_WAIT_S=20
WEB_PID_FILE='' WEB_PROCESS=apache2
sh -n "$configuration" 2>/dev/null || fail 10 "$configuration is no shell script"
# shellcheck source=/dev/null
. "$configuration"
case $TLS_DIR,$WEB_ADDRESS in
  /*,?*:?*) ;;
  *) fail 10 "$configuration does not set TLS_DIR and WEB_ADDRESS" ;;
esac

exec 9<"$configuration"
flock --nonblock 9 || fail 15 "another run is under way"

# Of a key, and of a certificate: the same where they belong together.
of_key=$(openssl pkey -in "$TLS_DIR/tls.key" -pubout 2>/dev/null) || fail 11 "$TLS_DIR/tls.key cannot be read"
of_certificate=$(openssl x509 -in "$TLS_DIR/tls.crt" -noout -pubkey 2>/dev/null) ||
  fail 11 "$TLS_DIR/tls.crt cannot be read"
[ "$of_key" = "$of_certificate" ] || fail 11 "the key and the certificate in $TLS_DIR do not belong together"

# Descriptor 9 stays here: a server that is started must not hold the lock.
# WEB_TEST and WEB_RELOAD are command lines of the configuration.
# shellcheck disable=SC2086
said=$($WEB_TEST 2>&1 9<&-) || fail 12 "the configuration is wrong: $(printf %s "$said" | grep -v '^AH00558' | head -n 1)"
# A container that is started anew finds the pid file of its former life. If another process has that number by now, it
# would get the signal.
if [ -n "$WEB_PID_FILE" ] && pid=$(cat "$WEB_PID_FILE" 2>/dev/null); then
  name=$(cat "/proc/$pid/comm" 2>/dev/null) || name=''
  case $name in '' | "$WEB_PROCESS") ;; *) rm -f "$WEB_PID_FILE" ;; esac
fi
# shellcheck disable=SC2086
$WEB_RELOAD >/dev/null 2>&1 9<&- || fail 13 "'$WEB_RELOAD' failed"

# A graceful reload answers before it is done.
fingerprint() { openssl x509 -noout -fingerprint -sha256 2>/dev/null; }
wanted=$(fingerprint <"$TLS_DIR/tls.crt")
served() {
  timeout 5 openssl s_client -connect "$WEB_ADDRESS" ${WEB_NAME:+-servername "$WEB_NAME"} </dev/null 2>/dev/null 9<&- |
    fingerprint
}
uptime_s() { read -r up _ </proc/uptime && echo "${up%.*}"; }
until_s=$(($(uptime_s) + WEB_WAIT_S))
until [ "$(served)" = "$wanted" ]; do
  [ "$(uptime_s)" -lt "$until_s" ] || fail 14 "$WEB_ADDRESS does not serve the certificate of $TLS_DIR"
  sleep 0.2
done
