# Sends log records from a shell to a batchudp receiver; needs nc and awk.
#
#     . ./batchudp.sh
#     batchudp_log warning "disk is at 93%"
#     some_command 2>&1 | batchudp_lines info backup
#
# BATCHUDP_TARGET says where to, "localhost 9999" by default. One record is one datagram without a
# number, so its loss is not counted.

# Without -q, nc waits for a second after each record.
case $(nc -h 2>&1) in
*-q*) BATCHUDP_NC="nc -u -w1 -q0" ;;
*) BATCHUDP_NC="nc -u -w1" ;;
esac

# Keep what is UTF-8, for a receiver refuses everything else.
batchudp_utf8() {
    if command -v iconv >/dev/null; then
        iconv -c -f UTF-8 -t UTF-8 || :
    else
        LC_ALL=C tr -d '\200-\377'
    fi
}

# Print a record in JSON for each line of standard input; the character \036 is a line break.
batchudp_json() { # LEVEL [LOGGER]
    batchudp_utf8 | LC_ALL=C awk \
        -v level="$1" -v logger="${2:-shell}" -v host="$(uname -n)" -v process=$$ '
        BEGIN {
            for (i = 1; i < 32; i++) escape[sprintf("%c", i)] = sprintf("\\u%04x", i)
            escape["\""] = "\\\""
            escape["\\"] = "\\\\"
            escape["\036"] = "\\n"
        }
        function quoted(text,    i, c, out) {
            for (i = 1; i <= length(text); i++) {
                c = substr(text, i, 1)
                out = out (c in escape ? escape[c] : c)
            }
            return "\"" out "\""
        }
        {
            printf "{\"message\":%s,\"level\":%s,", quoted($0), quoted(level)
            printf "\"logger\":%s,\"host\":%s,", quoted(logger), quoted(host)
            printf "\"process\":%d}\n", process
        }'
}

# Send each line of standard input as a record.
batchudp_lines() { # LEVEL [LOGGER]
    batchudp_json "$@" | while IFS= read -r batchudp_record; do
        # the words of both are arguments
        # shellcheck disable=SC2086
        printf '%s' "$batchudp_record" | $BATCHUDP_NC ${BATCHUDP_TARGET:-localhost 9999}
    done
}

# Send one record; line breaks in its text are kept.
batchudp_log() { # LEVEL TEXT...
    batchudp_level=$1
    shift
    printf '%s' "$*" | tr '\n' '\036' | batchudp_lines "$batchudp_level"
}
