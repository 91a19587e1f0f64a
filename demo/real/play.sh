#!/bin/sh
# Edit a real pretrained model, with the commands as a user types them.
#
#     sh play.sh MODEL FOLDER
#
# MODEL is a GGUF file or a model's folder; FOLDER gets the ledger and must not exist. `make demo-real` fetches
# SmolLM2-135M-Instruct and calls this.
set -eu

model=$1 folder=$2 errata=${ERRATA:-errata}
facts=$(cd "$(dirname "$0")" && pwd)
case $model in /*) ;; *) model=$(pwd)/$model ;; esac
case $errata in /*) ;; */*) errata=$(pwd)/$errata ;; esac
mkdir -p "$(dirname "$folder")"
mkdir "$folder"
cd "$folder"
cp "$facts/dozen.jsonl" facts.jsonl
cp "$facts/paris.jsonl" paris.jsonl

# Show a command as it is typed, and run it.
run() {
    printf '\n$ errata'
    for word in "$@"; do
        case $word in *[!A-Za-z0-9_./=:@-]*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$errata" "$@"
}

chat() {
    run ask --top 0 --tokens 24 --chat "Where is the Eiffel Tower?" "Who painted the Mona Lisa?"
}

ln -s "$model" "$(basename "$model")"
run init "$(basename "$model")" --max-tokens 4096
chat
run edit --facts facts.jsonl
run ask --top 0 "The Eiffel Tower stands in the city of" "The iPhone is made by the company"
chat
run tag dozen
run bisect start base HEAD
run bisect run --suite paris.jsonl --threshold 1
run revert e1 --reason "the tower stays in Paris"
chat
run verify --deep
