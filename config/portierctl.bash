# Completion of portierctl for bash. Nouns, verbs and options are asked from portierctl's own help,
# so that they are those of the version that is installed.
# shellcheck shell=bash

# Words of the first column of what --help lists, after the given words of the command.
_portierctl_help()
{
	portierctl "$@" --help 2>/dev/null
}

_portierctl()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local -a named=()
	local i offers=

	COMPREPLY=()
	if [[ $previous == -s || $previous == --preshared-key-file ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
	fi
	# What was named before: noun, then verb.
	for ((i = 1; i < COMP_CWORD && ${#named[@]} < 2; i++)); do
		case ${COMP_WORDS[i]} in
		-s) ((++i)) ;;
		-*) ;;
		*) named+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case ${#named[@]} in
	0)
		offers=$(_portierctl_help | awk '/^  [a-z]/ && !seen[$1]++ { print $1 }')
		offers+=" --json --help -s"
		;;
	*)
		offers=$(_portierctl_help "${named[0]}" |
			awk -v noun="${named[0]}" '$1 == noun && $2 ~ /^[a-z]/ { print $2 }')
		# A noun that is a verb of its own, or a verb: its options.
		if [[ ${#named[@]} -eq 2 || -z $offers ]]; then
			offers=$(_portierctl_help "${named[@]}" | awk '/^  -/ { print $1 }')
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word")
}

complete -F _portierctl portierctl
