# What every run.sh begins with, from the project's root, once it has set study and scale.
# It sets the folders and how much a scale does, and names the models that several studies read.

python=${PYTHON:-python}
runs=${RUNS:-runs}/$scale
models=$runs/02_from_scratch/models
out=$runs/$study
# Of paper runs: such as LAUNCHER="hydra/launcher=submitit_slurm hydra.launcher.partition=gpu".
launcher=${LAUNCHER:-}

case $scale in
    smoke)  seeds=0,1       languages=de                bytes=4000     other= ;;
    laptop) seeds=0,1,2,3,4 languages=de,es,zh,ja       bytes=150000   other="budget.tokens=500_000" ;;
    paper)  seeds=0,1,2     languages=de,es,zh,ja,ar,nl bytes=10000000 other= ;;
    *) echo "SCALE=$scale: choose smoke, laptop or paper." >&2; exit 2 ;;
esac
# Only laptop results are evidence that is committed; the others stay beside their runs.
results=$out/results
if [ "$scale" = laptop ] && [ -z "${RUNS:-}" ]; then results=experiments/$study/results; fi
# English documents that no model has trained on.
held_out="data=sample data.part=held_out data.max_bytes_per_domain=$bytes"

# Four domains of short documents are enough to see that everything works.
if [ "$scale" = smoke ]; then held_out="$held_out data.domains=[finance,parliament,policies,wikipedia]"; fi

# Windows of the comparison at equal context; the smoke models read 64 tokens.
contexts="window=65 stride=8"
if [ "$scale" = smoke ]; then contexts="window=33 stride=16"; fi

revlm() {
    command=$1
    shift
    # Runs of one study stand together in W&B.
    case $command in train|score|select|evaluate) set -- "$@" "logger.group=$study" ;; esac
    "$python" -m "revlm.$command" "$@"
}

# "+experiment=..." of a sweep, once for each seed; finished runs are skipped, others continued.
train_models() {
    revlm train +sweep=study_models "scale=$scale" "seed=$seeds" "run.root=$models" $launcher
}

# Mixed models of other languages; on a laptop they read a third of what the English ones do.
train_languages() {
    revlm train +sweep=study_languages "scale=$scale" "data=$(samples "$1")" "seed=$seeds" "run.root=$models" $other $launcher
}

# Mixed models of text whose S is known beforehand.
train_controls() {
    revlm train +sweep=study_controls "scale=$scale" "data=$1" "seed=$seeds" "run.root=$models" $other $launcher
}

# Their scores on such text that they have not read.
score_control() {
    case $1 in
        shuffled_words) some="data.max_bytes_per_domain=$((bytes / 6))" ;;
        *)              some="data.max_documents=$((bytes / 30))" ;;  # before a part of them is held out
    esac
    revlm score "model=$(models_of "$models" "from_scratch_mixed_$1")" "data=$1" data.part=held_out $some "run.dir=$out/control_$1"
}

# Several studies read the same models on the held-out documents: what one has scored the next takes over, since
# the same model, documents and options leave the same bytes.
take_scores() {
    into=$1/models
    shift
    for arm in "$@"; do
        for scored in "$runs"/*/held_out_en/models/"$arm"_[0-9]*; do
            name=${scored##*/}
            if [ -f "$scored/score.json" ] && [ ! -e "$into/$name" ]; then
                mkdir -p "$into"
                rm -rf "$into/.$name"
                cp -r "$scored" "$into/.$name"
                mv "$into/.$name" "$into/$name"
            fi
        done
    done
}

# "sample_de,sample_es" of "de,es".
samples() { echo "sample_$1" | sed 's/,/,sample_/g'; }

# "[FOLDER/ARM/0/model,FOLDER/ARM/1/model,...]" of a folder and arms, every seed.
models_of() {
    folder=$1
    shift
    list=
    for arm in "$@"; do
        for seed in $(echo "$seeds" | tr , ' '); do list=$list,$folder/$arm/$seed/model; done
    done
    echo "[${list#,}]"
}
