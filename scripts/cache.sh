# To be sourced: sets `cache` to isobench's cache folder, which is made if it is missing. As in harness/runner/src/owned.rs,
# a folder that holds anything but has no tag of isobench's is not used, and an empty variable counts as unset.
cache=${ISOBENCH_CACHE:-}
if [ -z "$cache" ]; then
    # The XDG base directory specification has relative paths ignored.
    case "${XDG_CACHE_HOME:-}" in
        /*) cache=$XDG_CACHE_HOME/isobench ;;
        *) cache=${HOME:?set HOME or ISOBENCH_CACHE}/.cache/isobench ;;
    esac
fi
mkdir -p "$(dirname "$cache")"
[ -d "$cache" ] || mkdir -m 755 "$cache"
cache=$(cd "$cache" && pwd)
if [ -z "$(ls -A "$cache")" ]; then
    printf '%s\n' 'Signature: 8a477f597d28d172789f06886806bc55' '# This folder is a cache of isobench.' >"$cache/CACHEDIR.TAG"
elif ! [ "$(sed -n 2p "$cache/CACHEDIR.TAG" 2>/dev/null)" = '# This folder is a cache of isobench.' ]; then
    echo "$cache is not empty and was not made by this version of isobench, so isobench does not use it; set" \
        "ISOBENCH_CACHE to a new or empty folder of your own, or remove this one if an earlier isobench made it" >&2
    exit 1
fi
