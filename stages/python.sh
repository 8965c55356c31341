# Runs a stage with the Python that DVC runs in, so that `.venv/bin/dvc repro` works where .venv is not activated:
#
#     sh stages/python.sh -m stages.link
#
# Where that Python lacks the project's libraries (dvc from a package of its own), it is `python` or `python3`.

# Print the Python that DVC runs in. DVC starts a shell, which starts this script: the first ancestor that is no shell
# is DVC. Where there is no /proc, print nothing.
dvc_python() {
    process=$PPID
    while [ -r "/proc/$process/cmdline" ]; do
        program=$(tr '\0' '\n' <"/proc/$process/cmdline" | head -n 1)
        case $program in
        *sh) process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status") ;;
        /*python*) echo "$program" && return ;;
        */*python*) echo "$(readlink "/proc/$process/cwd")/$program" && return ;;
        *) return ;;
        esac
    done
}

for python in "$(dvc_python)" python python3; do
    # The package itself says whether the libraries are there.
    if [ -n "$python" ] && "$python" -c 'import stages' >/dev/null 2>&1; then
        exec "$python" "$@"
    fi
done
for python in python python3; do
    command -v "$python" >/dev/null && exec "$python" "$@" # It says what it lacks.
done
echo "ERROR: no Python found; make the environment (make setup) and activate it (source .venv/bin/activate)" >&2
exit 1
