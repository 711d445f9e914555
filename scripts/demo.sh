#!/usr/bin/env bash
# The main job end to end in a temporary directory: start, import intents, kill the database under load, prove that
# nothing acknowledged was lost, verify the audit log, stop. Ends with what was left behind, which must be nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# What is left behind is counted at the end, so it must be possible to count.
[ -d /proc/self ] || command -v ps >/dev/null || { echo "demo: neither /proc nor ps is here to count processes" >&2; exit 4; }

step "Build (release)"
cargo build --quiet --release -p nephkeep
program=$PWD/target/release/nephkeep
[ -n "${CARGO_TARGET_DIR:-}" ] && program=$CARGO_TARGET_DIR/release/nephkeep

# PostgreSQL runs under an unprivileged account: the directory on the way must be open to it.
work=$(mktemp -d "${TMPDIR:-/tmp}/nephkeep-demo.XXXXXX")
chmod 755 "$work"
directory=$work/record
pids=()

# Every process that this demo's installation ever showed; each is counted again at the end.
note_pids() {
    local file pid
    while IFS= read -r file; do
        pid=$(head -n 1 "$file" 2>/dev/null || true)
        if [[ $pid =~ ^[0-9]+$ ]]; then pids+=("$pid"); fi
    done < <(find "$work" \( -name 'postmaster.pid' -o -name '*.pid' \) 2>/dev/null)
    while IFS= read -r pid; do pids+=("$pid"); done < <(
        "$program" --dir "$directory" status 2>/dev/null | awk '/^metrics\..*\.pid/ {print $2}')
}

# Whether a process lives. A zombie has ended: that its parent has not looked yet is no life.
lives() {
    local state
    if [ -d /proc/self ]; then
        state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null || true)
    else
        state=$(ps -o stat= -p "$1" 2>/dev/null || true)
    fi
    case $state in '' | Z*) return 1 ;; esac
}

# Every process whose command line names our directory, known to a pid file or not; this shell does not count.
naming() {
    if [ -d /proc/self ]; then
        grep -las -- "$work" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3
    else
        ps -eo pid=,args= | awk -v work="$work" 'index($0, work) && !/awk -v work=/ { print $1 }'
    fi | grep -vx "$$" || true
}

clean() {
    local status=$?
    trap - EXIT
    note_pids
    "$program" down "$directory" >/dev/null 2>&1 || true
    local pid alive=0 files=0
    while read -r pid; do pids+=("$pid"); done < <(naming)
    files=$( (find "$work"/nephkeep-drill-* 2>/dev/null || true) | wc -l)
    rm -rf "$work"
    for pid in $(printf '%s\n' "${pids[@]:-}" | sort -un); do
        if lives "$pid"; then alive=$((alive + 1)); fi
    done
    if [ -e "$work" ]; then files=$((files + $(find "$work" | wc -l))); fi
    printf '\nleft behind: %s processes, %s files\n' "$alive" "$files"
    if [ "$status" -eq 0 ] && { [ "$alive" -gt 0 ] || [ "$files" -gt 0 ]; }; then status=1; fi
    exit "$status"
}
trap clean EXIT

step "Start: nephkeep up"
"$program" up "$directory" --detach --listen 127.0.0.1:0
note_pids

step "Import intents"
samples=${NEPHKEEP_SAMPLES:-}
if [ -z "$samples" ] && [ -d ../shared/data/intents ]; then samples=$PWD/../shared/data; fi
if [ -n "$samples" ] && [ -d "$samples/intents" ]; then
    echo "real intents from $samples; rows that are invalid on purpose are refused by name"
    refusals=$work/refusals
    "$program" --dir "$directory" intent import --allow-refused "$samples"/intents/*.jsonl "$samples"/tmf921/examples \
        2>"$refusals" | tee "$work/imported" || { cat "$refusals" >&2; exit 1; }
    # Refusing them all would not be a success.
    imported=$(awk '$1 == "imported" { sub(",", "", $2); print $2 }' "$work/imported")
    [ "${imported:-0}" -ge 8000 ] || { echo "demo: only ${imported:-none} of the samples were imported" >&2; exit 1; }
    echo "the first of the refused ones:"
    sed -n 's/^/  /; 1,3p' "$refusals"
else
    echo "skipped, data missing: NEPHKEEP_SAMPLES is not set; generated telecom intents instead"
    awk 'BEGIN { for (n = 1; n <= 2000; n++) printf "{\"@type\":\"Intent\",\"name\":\"slice %d in cell %d\",\"priority\":\"%d\",\
\"expression\":{\"@type\":\"JsonLdExpression\",\"iri\":\"https://example.com/intents/slice\",\"expressionValue\":\
{\"@context\":\"https://example.com/intents\",\"latencyMs\":%d,\"mbps\":%d}}}\n", n, n % 97, 1 + n % 9, 1 + n % 40, 10 * (1 + n % 50) }' \
        >"$work/intents.jsonl"
    "$program" --dir "$directory" intent import "$work/intents.jsonl"
fi

step "Import knowledge, and ask three questions whose best passage is known"
if [ -n "$samples" ] && [ -f "$samples/knowledge/passages.jsonl" ]; then
    "$program" --dir "$directory" knowledge import "$samples/knowledge/passages.jsonl"
    questions=("How can I check if a given subscriber is idle or connected?|faq/faq_magma.md  .*idle or connected"
        "install the near-realtime RIC|docs/installation-ric.rst  Installing Near-realtime RIC"
        "PFCP association between SMF and UPF fails|free5gc_deployment.md  .*PFCP Association Failures")
else
    echo "skipped, data missing: this project's own documentation instead"
    "$program" --dir "$directory" knowledge import docs/errors --source nephkeep
    questions=("what is shown of a document whose key was erased|nephkeep: erased.md  "
        "the keystore is older than the record|nephkeep: keystore-too-old.md  "
        "a consumer that was fenced commits|nephkeep: consumer-fenced.md  ")
fi
# The copies follow the record; verify brings each to the record's present position.
"$program" --dir "$directory" verify vectors
"$program" --dir "$directory" verify text
for question in "${questions[@]}"; do
    printf '\n? %s\n' "${question%%|*}"
    "$program" --dir "$directory" knowledge search "${question%%|*}" --limit 10 >"$work/found"
    sed -n 1,2p "$work/found"
    rank=$(grep -E '^[0-9]+\.[0-9]+  ' "$work/found" | grep -nm1 -- "${question#*|}" | cut -d: -f1 || true)
    echo "the passage known to answer it (${question#*|}) has rank ${rank:-none of the first 10}"
    [ -n "$rank" ]
done

step "Events: the log as CloudEvents, read by a consumer group"
"$program" --dir "$directory" events topics
"$program" --dir "$directory" events consume intent.lifecycle --group demo --from earliest --count 3
echo "the group goes on where it was:"
"$program" --dir "$directory" events consume intent.lifecycle --group demo --count 1 -o json
"$program" --dir "$directory" events groups

step "Damage one object of each copy, chosen at random: verify names it, a rebuild mends it"
# Flips a bit so many bytes behind the id's last place in that copy's files: COPY OFFSET.
damage() {
    local copy=$1 offset=$2 chosen file at byte named
    chosen=$("$program" --dir "$directory" knowledge list --all | awk -v seed="$RANDOM" \
        'NR > 1 { ids[NR - 1] = $1 } END { srand(seed); print ids[1 + int(rand() * (NR - 1))] }')
    file=$(grep -rlaF --include='*.vectors' --include='*.store' "$chosen" "$directory/$copy" | tail -n 1)
    at=$(($(grep -abo "$chosen" "$file" | tail -n 1 | cut -d: -f1) + offset))
    byte=$(dd if="$file" bs=1 skip="$at" count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$file" bs=1 seek="$at" conv=notrunc 2>/dev/null
    named=$("$program" --dir "$directory" diff "$copy" -o json | sed -n 's/.*"id": "\(.*\)".*/\1/p') || true
    printf '%s: chosen %s\n%s: named  %s\n' "$copy" "$chosen" "$copy" "$named"
    [ "$chosen" = "$named" ]
    "$program" --dir "$directory" rebuild "$copy"
    "$program" --dir "$directory" diff "$copy"
}
# In the first vector; in what stands with a document's chunks.
damage vectors 240
damage text 100

step "Ask the metrics: PromQL over what was kept of our own page, and its counters against the record"
if "$program" --dir "$directory" status | grep -q '^metrics.kind *local'; then
    # The first page is kept within some seconds of the start.
    counted=sum\(nephkeep_intents_created_total\)
    for _ in $(seq 60); do
        answer=$("$program" --dir "$directory" metrics query "$counted" 2>/dev/null || true)
        if [ "$(wc -l <<<"$answer")" -gt 1 ]; then break; fi
        sleep 1
    done
    echo "? $counted"
    echo "$answer"
    "$program" --dir "$directory" verify metrics
else
    echo "skipped, engine missing: no prometheus program"
fi

step "Status"
"$program" --dir "$directory" status

step "Verify the audit log: offline, from files and a public key alone"
"$program" --dir "$directory" audit verify
"$program" --dir "$directory" audit reconcile

step "Drill: kill -9 the database under load, five rounds, then account for every acknowledged write"
# In our own directory, so that what it leaves is counted at the end.
TMPDIR=$work "$program" drill run kill-database --rounds 5 --seconds 2 --load 64

step "Stop: nephkeep down"
note_pids
"$program" down "$directory"
