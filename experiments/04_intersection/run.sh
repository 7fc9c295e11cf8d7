#!/bin/sh
# Losses by position and where they cross, by domain; the same tokens at equal context: run.sh smoke | laptop | paper.
# Safe to run again: finished stages are skipped, killed ones continue.
set -eu
cd "$(dirname "$0")/../.."
study=04_intersection scale=${1:-laptop}
. experiments/common.sh

train_models
mixed=$(models_of "$models" from_scratch_mixed_double_en)
revlm score "model=$mixed" $held_out "run.dir=$out/mixed"
for seed in $(echo "$seeds" | tr , ' '); do
    pair="model.forward=$models/from_scratch_forward_en/$seed/model model.reverse=$models/from_scratch_reverse_en/$seed/model"
    revlm score $pair $held_out "run.dir=$out/pair_$seed"
    revlm contexts $pair $held_out $contexts "run.dir=$out/contexts_pair_$seed"
done
revlm contexts "model=$mixed" $held_out $contexts "run.dir=$out/contexts_mixed"

revlm collect "runs=$out" "out=$results/records" "keep=[documents.parquet,curves.parquet,crossings.csv,contexts.parquet]"
