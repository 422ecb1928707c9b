#!/bin/sh
# From a running Postern to a first profile, over the API: an organization, a user, a server, this machine as its host,
# and the profile's file on standard output. Repeating it re-uses what is there and issues another profile.
#
# usage: first-profile.sh API TOKEN EMAIL [NETWORK]     e.g. first-profile.sh http://127.0.0.1:9443 "$TOKEN" ana@example.com 10.0.0.0/8
set -eu

[ $# -ge 3 ] || { sed -n '5p' "$0" | cut -c3- >&2; exit 2; }
api=$1/api/v1 token=$2 email=$3 network=${4:-}

call() { # METHOD PATH [BODY]
    method=$1 path=$2 body=${3:-}
    reply=$(curl -sS -X "$method" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
        ${body:+--data "$body"} -w '\n%{http_code}' "$api$path")
    status=${reply##*
}
    reply=${reply%
*}
    case $status in
        2??) printf '%s' "$reply" ;;
        *) printf '%s %s: %s\n%s\n' "$method" "$path" "$status" "$reply" >&2; exit 1 ;;
    esac
}
# The first id with this prefix in a reply; ids say what they are of, so no JSON parser is needed.
id() { grep -o "$1_[0-9A-Z]*" | head -n 1; }
# The id of the first thing in a list that holds a text, or nothing.
known() { call GET "$1" | tr '{' '\n' | grep -F "$2" | id "$3" || true; }

organization=$(known '/organizations?limit=200' '"name":"First organization"' org)
[ -n "$organization" ] || organization=$(call POST /organizations '{"name": "First organization"}' | id org)
user=$(known "/users?email=$email" "\"$email\"" usr)
[ -n "$user" ] || user=$(call POST /users "{\"organization_id\": \"$organization\", \"name\": \"${email%@*}\", \"email\": \"$email\"}" | id usr)
server=$(known '/servers?limit=200' '"name":"First server"' srv)
routes=${network:+"{\"network\": \"$network\"}"}
[ -n "$server" ] || server=$(call POST /servers "{\"name\": \"First server\", \"network\": \"10.200.0.0/16\", \"port\": 1194,
    \"protocol\": \"udp\", \"organization_ids\": [\"$organization\"], \"routes\": [$routes]}" | id srv)
host=$(call GET /hosts | id hst)
call PUT "/servers/$server/hosts/$host" >&2

waited=0
until call GET "/servers/$server/hosts" | grep -q '"state":"running"'; do
    waited=$((waited + 1))
    if [ $waited -gt 100 ]; then
        echo "the server does not run on this machine:" >&2
        call GET "/servers/$server/hosts" >&2
        exit 1
    fi
    sleep 0.2
done
curl -sS --fail-with-body -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
    -H 'Accept: application/x-openvpn-profile' --data "{\"server_id\": \"$server\", \"name\": \"first device\"}" \
    "$api/users/$user/profiles"
