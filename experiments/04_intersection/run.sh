#!/bin/sh
# Losses by position and where they cross, by domain; the same tokens at equal context: run.sh smoke | laptop | paper.
# Safe to run again: finished stages are skipped, killed ones continue.
set -eu
cd "$(dirname "$0")/../.."
study=04_intersection scale=${1:-laptop}
. experiments/common.sh

# Each token is read by many windows here, so fewer documents serve.
same="$held_out $contexts"
if [ "$scale" != smoke ]; then same="$same data.max_bytes_per_domain=$((bytes / 6))"; fi

train_models
mixed=$(models_of "$models" from_scratch_mixed_double_en)
take_scores "$out/mixed" from_scratch_mixed_double_en
revlm score "model=$mixed" $held_out "run.dir=$out/mixed"
for seed in $(echo "$seeds" | tr , ' '); do
    pair="model.forward=$models/from_scratch_forward_en/$seed/model model.reverse=$models/from_scratch_reverse_en/$seed/model"
    revlm score $pair $held_out "run.dir=$out/pair_$seed"
    revlm contexts $pair $same "run.dir=$out/contexts_pair_$seed"
done
revlm contexts "model=$mixed" $same "run.dir=$out/contexts_mixed"
# Text whose two curves are one in truth.
train_controls markov
score_control markov

revlm collect "runs=$out" "out=$results/records" "keep=[documents.parquet,curves.parquet,crossings.csv,contexts.parquet]"
