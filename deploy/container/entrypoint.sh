#!/bin/sh
# entrypoint.sh COMMAND [ARGUMENT...]: starts the service, or the wizard first where the store must be restored.
#
# - The service (the gate's exit code 0): writes the TLS files, has the web server tested and reloaded, and becomes COMMAND.
# - The wizard (5): nothing is unwrapped, and TLS files and web server stay as they are. When it is done, the gate is asked
#   again.
# - An outage (4): asks again every STRONGROOM_RETRY_S seconds, or lets the wizard show a page that says so.
# - A PIN that the token did not take: stays, and does nothing. A start anew would send it again, and some of that lock a token.
# - Anything else: ends with the gate's exit code.
#
# Settings, from the environment:
#   STRONGROOM_DIR            the store
#   STRONGROOM_PKCS11_MODULE  the PKCS#11 module; not needed where the store is not in a token
#   STRONGROOM_PIN_FILE       the file with its PIN
#   STRONGROOM_TLS_DIR        where the web server reads its TLS files; empty: no web server is looked after
#   STRONGROOM_ON_RESTORED    the hook, an absolute path; empty: none
#   STRONGROOM_LISTEN         where the wizard listens (127.0.0.1:8443)
#   STRONGROOM_NAME           a host name that the wizard's page is reached by, besides localhost and IP addresses
#   STRONGROOM_OUTAGE_PAGE    1: the wizard serves its page during an outage; it asks for nothing, and ends when it is over
#   STRONGROOM_RETRY_S        seconds between two questions during an outage (5)
#   STRONGROOM_GATE_LIMIT_S   seconds that one question may take (90)
set -eu

: "${STRONGROOM_DIR:?is not set}"
: "${STRONGROOM_PIN_FILE:=}" "${STRONGROOM_TLS_DIR:=}" "${STRONGROOM_ON_RESTORED:=}"
: "${STRONGROOM_OUTAGE_PAGE:=}" "${STRONGROOM_NAME:=}" "${STRONGROOM_LISTEN:=127.0.0.1:8443}"
: "${STRONGROOM_RETRY_S:=5}" "${STRONGROOM_GATE_LIMIT_S:=90}"
if [ $# -eq 0 ]; then
  echo "usage: entrypoint.sh COMMAND [ARGUMENT...]" >&2
  exit 2
fi

say() { echo "entrypoint: $*" >&2; }

# Signals end what is being waited for, and this. A child that is not yet the command it becomes loses the signal to the
# handlers that it has from here, so it is sent until the child is gone. $! is the child also where the signal comes before
# the shell has read the next line; a child that has been waited for is not signalled, for its number may be somebody else's.
running=
ended=
stop() {
  trap - TERM INT
  if [ -n "$running" ] && [ "${!:-}" != "$ended" ]; then
    while kill -s TERM "$!" 2>/dev/null; do sleep 0.1; done
  fi
  exit 143
}
trap stop TERM INT
run() { # command; its exit status
  running=1
  "$@" &
  status=0
  wait "$!" || status=$?
  ended=$!
  running=
  return "$status"
}

with_pin() { # strongroom's arguments, without those of the PIN
  if [ -n "$STRONGROOM_PIN_FILE" ]; then set -- "$@" --pin-file "$STRONGROOM_PIN_FILE"; fi
  run "$@"
}

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
gate() {
  code=0
  with_pin timeout --kill-after=5 "$STRONGROOM_GATE_LIMIT_S" strongroom serve-gate "$STRONGROOM_DIR" --json \
    >"$answer" || code=$?
  # By timeout.
  case $code in 124 | 137) code=4 ;; esac
}

wizard() {
  set -- strongroom wizard "$STRONGROOM_DIR" --listen "$STRONGROOM_LISTEN"
  if [ -n "$STRONGROOM_NAME" ]; then set -- "$@" --name "$STRONGROOM_NAME"; fi
  if [ -n "$STRONGROOM_TLS_DIR" ]; then set -- "$@" --tls-dir "$STRONGROOM_TLS_DIR"; fi
  if [ -n "$STRONGROOM_ON_RESTORED" ]; then set -- "$@" --on-restored "$STRONGROOM_ON_RESTORED"; fi
  with_pin "$@"
}

# Where the protector is not in a token, a PIN's file is not the store's.
extract() {
  if grep -q '"token":' "$answer"; then with_pin "$@"; else run "$@"; fi
}
web_server() {
  [ -n "$STRONGROOM_TLS_DIR" ] || return 0
  # A new store, or one without a credential, has no web server yet.
  if grep -q '"state":"NO_STORE"' "$answer"; then return 0; fi
  problem=$(mktemp)
  if ! extract strongroom tls extract "$STRONGROOM_DIR" "$STRONGROOM_TLS_DIR" --json >/dev/null 2>"$problem"; then
    said=$(cat "$problem")
    rm -f "$problem"
    case $said in
      *'"reason":"tls-not-set"'*) return 0 ;;
      *) say "TLS files: $said" && return 1 ;;
    esac
  fi
  rm -f "$problem"
  if [ -n "$STRONGROOM_ON_RESTORED" ]; then run "$STRONGROOM_ON_RESTORED"; fi
}

before=
while :; do
  gate
  now="$code $(cat "$answer")"
  if [ "$now" != "$before" ]; then say "$now"; fi
  before=$now
  case $code in
    0)
      web_server
      rm -f "$answer"
      trap - EXIT
      say "starting $1"
      exec "$@"
      ;;
    5)
      say "the store must be restored: the wizard listens on $STRONGROOM_LISTEN"
      status=0
      wizard || status=$?
      if [ "$status" -ne 0 ]; then
        # The token may have come back before the wizard looked; then there was nothing to serve.
        gate
        [ "$code" -eq 0 ] || { say "the wizard ended with exit code $status" && exit "$status"; }
      fi
      ;;
    4)
      # It may be over before the wizard has looked.
      if [ "$STRONGROOM_OUTAGE_PAGE" = 1 ]; then wizard || true; fi
      run sleep "$STRONGROOM_RETRY_S"
      ;;
    *)
      if grep -q '"state":"PIN"' "$answer"; then
        say "put the right PIN in place and start anew; until then nothing is tried"
        run sleep infinity
      fi
      exit "$code"
      ;;
  esac
done
