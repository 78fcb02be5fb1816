# fish completion for remora. For this shell:  remora completion fish | source
# For all shells:  remora completion fish >~/.config/fish/completions/remora.fish

function __remora_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct | string unescape)
    test -n "$current"; or set current (commandline -ct)
    set -l answers (command remora __complete -- $before[2..-1] "$current" 2>/dev/null)
    for answer in $answers
        if string match -q -- ':*' $answer
            set -l last (string split ' ' -- $answer)
            set -l lead (string sub -l $last[-1] -- "$current")
            set -l rest (string sub -s (math $last[-1] + 1) -- "$current")
            switch $last[1]
                case ':files'
                    for found in (__fish_complete_path "$rest")
                        echo -- $lead$found
                    end
                case ':folders'
                    for found in (__fish_complete_directories "$rest" '')
                        echo -- $lead$found
                    end
            end
        else
            echo -- $answer
        end
    end
end

complete -c remora -f -a '(__remora_complete)'
