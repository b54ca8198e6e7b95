#!/usr/bin/env bash
# The story of docs/guide/settlement.md from end to end: a settlement system with a PostgreSQL of its own, a Tidegate beside it, a
# Tidegate of the tax system, a contract that is confirmed, an invoice that is recorded and corrected, a settlement that is
# generated; and the proof that the tax system has exactly what the settlement system has.
#
#   examples/settlement/run.sh              everything in a temporary folder, on loopback only
#   TIDEGATE=target/debug/tidegate examples/settlement/run.sh
#
# Needs tidegate, PostgreSQL's programs (Debian: apt-get install postgresql) and curl.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
tidegate="${TIDEGATE:-tidegate}"
work="$(mktemp -d -t tidegate-settlement-XXXXXX)"
chmod 711 "$work"
running=()

finish() {
    for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
    if [[ -d "$work/cluster" ]]; then as_postgres pg_ctl -D "$work/cluster" -m immediate -w stop >/dev/null 2>&1 || true; fi
    rm -rf "$work"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }

# A program of the newest PostgreSQL; as another user where we are root, because the server refuses to be.
postgres_programs="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)"
as_postgres() {
    local program="$postgres_programs/$1"
    shift
    if [[ "$(id -u)" -eq 0 ]]; then
        setpriv --reuid postgres --regid postgres --clear-groups -- "$program" "$@"
    else
        "$program" "$@"
    fi
}

start_postgres() {
    mkdir "$work/cluster"
    if [[ "$(id -u)" -eq 0 ]]; then chown postgres: "$work/cluster"; fi
    (cd "$work/cluster" && as_postgres initdb -D "$work/cluster" -U settlement -A trust -E UTF8 --locale=C.UTF-8 -N >/dev/null)
    local port
    port="$(free_port)"
    local options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    (cd "$work/cluster" && as_postgres pg_ctl -D "$work/cluster" -w -o "$options" -l "$work/cluster/log" start >/dev/null)
    publisher="postgres://settlement@127.0.0.1:$port/postgres"
}

# A port that nobody has at this moment.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 30000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
    done
}

sql() { "$postgres_programs/psql" -X -q -v ON_ERROR_STOP=1 "$publisher" "$@"; }

# Each side has a folder with its configuration and its store.
settlement() { (cd "$work/settlement" && "$tidegate" "$@"); }
tax() { (cd "$work/tax" && "$tidegate" "$@"); }

# Serves one side; its address comes back in `url`.
serve() {
    local side="$1" printed="$work/$1/serve.json"
    # There before it is read, however late the program begins to write.
    : >"$printed"
    (cd "$work/$side" && exec "$tidegate" serve --json --listen 127.0.0.1:0 >"$printed" 2>"$work/$side/serve.log") &
    running+=($!)
    url=
    for _ in $(seq 600); do
        url="$(sed -n 's/.*"url": "\(http[^"]*\)".*/\1/p' "$printed" | head -1)"
        if [[ -n "$url" ]]; then return; fi
        if ! kill -0 "${running[-1]}" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "the $side side does not start:" >&2
    cat "$work/$side/serve.log" >&2
    exit 1
}

say "a PostgreSQL of the settlement system, with an outbox"
start_postgres
sql -f "$here/publisher.sql"

say "two Tidegates"
for side in settlement tax; do
    mkdir "$work/$side"
    cp "$here/$side.toml" "$work/$side/tidegate.toml"
done
cp -r "$here/catalog" "$work/tax/catalog"
settlement init --quiet
tax init --quiet
settlement keys create admin --role admin >"$work/admin.key"
program_key="$(settlement keys create program --role operate)"
tax_key="$(settlement keys create tax --role read)"
serve settlement
settlement_url="$url"
serve tax
tax_url="$url"

say "the tax system takes what the settlement system says"
sed "s|SETTLEMENT_URL|$settlement_url|" "$here/webhook.toml" >"$work/webhook.toml"
printf '\n[reconcile]\ntidegates = ["settlement=http://:%s@%s"]\n' "$tax_key" "${settlement_url#http://}" >>"$work/tax/tidegate.toml"
secret="$(tax inbound add settlement --file "$work/webhook.toml")"
echo "$tax_key" | tax inbound origin-key settlement --key-file -
TIDEGATE_WEBHOOK_SECRET="$secret" settlement subscriptions add tax \
    --url "$tax_url/api/v1/webhooks/settlement" --types 'l1_confirmed,voucher.*,invoice.*,settlement.*' >/dev/null
echo "$publisher" | settlement intake add publisher \
    '{"source": "/settlement", "outbox": {"table": "outbox", "mode": "mark", "listen": "outbox"}}'

say "a contract is confirmed"
curl --silent --show-error --fail -X POST "$settlement_url/api/v1/vouchers" \
    -H "Authorization: Bearer $program_key" -H 'Content-Type: application/json' -H 'Idempotency-Key: L1-20260102-001' --data @"$here/voucher.json"
echo

say "an invoice is recorded, another one is, and the first is corrected"
sql -c "insert into invoice values (1001, 'FP-0001', 'L1-20260102-001', 60000.00, '2026-01-05')"
sql -c "insert into invoice values (1002, 'FP-0002', 'L1-20260102-001', 38750.50, '2026-01-06')"
sql -c "update invoice set amount = 61249.50 where id = 1001"

say "a settlement is generated"
sql -c "insert into settlement_sheet select 1, 'JS-0001', contract_no, count(*), sum(amount) from invoice group by contract_no"

# Compares a table of the settlement system with the tax system's copy; right away they may differ, because events travel.
equal() {
    local status
    for _ in $(seq 60); do
        status=0
        tax reconcile "$@" >"$work/report" 2>&1 || status=$?
        # 1: something differs still. Anything else will not get better by waiting.
        case "$status" in
            0) cat "$work/report"; return ;;
            1) sleep 0.5 ;;
            *) break ;;
        esac
    done
    cat "$work/report" >&2
    tax inbound messages settlement >&2
    settlement subscriptions >&2
    exit 1
}

say "the receiver's tables equal the sender's"
synced=(--ignore synced_at)
equal settlement#voucher store:tax_contract --key voucher_no \
    --columns voucher_no,source_reference_no,counterparty_name,amount,currency,status,version \
    --name source_reference_no=contract_no --name counterparty_name=supplier --name version=source_version
equal "$publisher#invoice" store:tax_invoice_cache --name id=invoice_id --name version=source_version "${synced[@]}"
equal "$publisher#settlement_sheet" store:tax_settlement --name id=sheet_id --name version=source_version "${synced[@]}"

say "what was taken in"
tax inbound messages settlement
tax inbound check settlement 1001 --dataset tax_invoice_cache
tax show tax_invoice_cache
