#!/bin/sh
# SPDX-License-Identifier: MIT
# Signs a request, with what it asks for, by an authority CA.pem with CA.key. DAYS below 0: it expired so many days ago.
# OpenSSL from 3.4 on refuses `x509 -days -1`, and before that `x509` takes no dates: `ca` does both.
#
#   sign.sh REQUEST CA DAYS CERTIFICATE
set -eu
unset LD_PRELOAD
if [ "$3" -ge 0 ]; then
  exec openssl x509 -req -in "$1" -CA "$2.pem" -CAkey "$2.key" -set_serial "0x$(openssl rand -hex 8)" -days "$3" \
    -copy_extensions copy -out "$4"
fi

books=$(mktemp -d)
trap 'rm -rf "$books"' EXIT
: >"$books/index"
cat >"$books/config" <<CONFIG
[ca]
default_ca = authority
[authority]
database = $books/index
new_certs_dir = $books
rand_serial = yes
default_md = sha256
copy_extensions = copy
policy = policy
[policy]
commonName = supplied
CONFIG
date_of() { date -u -d "$1 days" +%Y%m%d%H%M%SZ; }
openssl ca -batch -notext -config "$books/config" -cert "$2.pem" -keyfile "$2.key" -in "$1" -out "$4" \
  -startdate "$(date_of $(($3 - 2)))" -enddate "$(date_of "$3")"
