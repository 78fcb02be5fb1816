# bash completion for remora. For this shell:  source <(remora completion bash)
# For all shells, where bash-completion is installed:
#   remora completion bash >/usr/share/bash-completion/completions/remora

_remora() {
    # bash splits words also at ":" and "="; joined again they are what remora would be given.
    local line=${COMP_LINE:0:COMP_POINT} at word rest
    local -a words=()
    rest=$line
    for ((at = 0; at <= COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $at -gt 0 && $rest == [![:space:]]* ]]; then
            words[${#words[@]} - 1]+=${rest:0:${#word}}
            rest=${rest:${#word}}
        else
            rest=${rest#"${rest%%[![:space:]]*}"}
            words+=("${rest:0:${#word}}")
            rest=${rest:${#word}}
        fi
    done
    local current=${words[-1]} split=""
    case $COMP_WORDBREAKS in
    *:*) split=${current%"${current##*:}"} ;;
    esac
    case $COMP_WORDBREAKS in
    *=*)
        local equals=${current%"${current##*=}"}
        [ ${#equals} -gt ${#split} ] && split=$equals
        ;;
    esac

    local answer last=: tab=$'\t'
    COMPREPLY=()
    while IFS= read -r answer; do
        case $answer in
        :*) last=$answer ;;
        *)
            answer=${answer%%"$tab"*}
            COMPREPLY+=("${answer#"$split"}")
            ;;
        esac
    done < <(command remora __complete -- "${words[@]:1}" 2>/dev/null)
    case $last in
    :files*)
        # The shell's own completion of file names, unless names that were found are in the way.
        compopt -o default
        if [ ${#COMPREPLY[@]} -gt 0 ] && [ -n "$current" ]; then
            while IFS= read -r answer; do
                COMPREPLY+=("$answer")
                compopt -o filenames
            done < <(compgen -f -- "${current#"$split"}")
        fi
        ;;
    :folders*) compopt -o dirnames ;;
    esac
    [[ $last == *open* ]] && compopt -o nospace
    return 0
}

complete -F _remora remora
