#compdef remora
# zsh completion for remora. For this shell, behind compinit:  source <(remora completion zsh)
# For all shells, in a folder of $fpath:  remora completion zsh >/usr/local/share/zsh/site-functions/_remora

_remora() {
    local answer last=: word text
    local -a names shown
    local -a asked=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    while IFS= read -r answer; do
        if [[ $answer == :* ]]; then
            last=$answer
            continue
        fi
        word=${answer%%$'\t'*}
        text=${answer#*$'\t'}
        names+=("$word")
        shown+=("$word${text:+  -- $text}")
    done < <(command remora __complete -- "${asked[@]}" 2>/dev/null)
    local -a open=()
    [[ $last == *open* ]] && open=(-S '')
    local -i missed=1
    if (( ${#names} )); then
        compadd -l "${open[@]}" -d shown -a names && missed=0
    elif [[ $last == :(files|folders)* ]]; then
        compset -p ${last##* }
        if [[ $last == :files* ]]; then _files; else _files -/; fi && missed=0
    fi
    return missed
}

if [[ $funcstack[1] == _remora ]]; then
    _remora "$@"
else
    compdef _remora remora
fi
