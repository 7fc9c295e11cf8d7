#!/bin/sh
# Forward, reverse and mixed from scratch, several seeds and languages: run.sh smoke | laptop | paper.
# Safe to run again: finished stages are skipped, killed ones continue.
set -eu
cd "$(dirname "$0")/../.."
study=02_from_scratch scale=${1:-laptop}
. experiments/common.sh

train_models
train_languages "$languages"

english=$(models_of "$models" from_scratch_forward_en from_scratch_reverse_en from_scratch_mixed_en from_scratch_mixed_double_en)
revlm score "model=$english" $held_out "run.dir=$out/held_out_en"
for language in $(echo "$languages" | tr , ' '); do
    revlm score "model=$(models_of "$models" "from_scratch_mixed_$language")" "data=sample_$language" \
        data.part=held_out "data.max_bytes_per_domain=$((bytes * 6))" "run.dir=$out/held_out_$language"
done

revlm collect "runs=$out" "out=$results/records" "keep=[runs.csv,validations.csv,documents.parquet]"
