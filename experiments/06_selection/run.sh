#!/bin/sh
# Score, select by each rule at equal budgets, continue a forward model, evaluate: run.sh smoke | laptop | paper.
# Safe to run again: finished stages are skipped, killed ones continue.
set -eu
cd "$(dirname "$0")/../.."
study=06_selection scale=${1:-laptop}
. experiments/common.sh

# Text that no model has read: the training side of the split, without what the models were trained on.
fresh="data=sample data.part=training data.without_bytes_per_domain=500_000"
# Of a pool without the tenth that is held out, a share for validation begins above that tenth.
case $scale in
    smoke)  rules="top_s random" budget=12000 pool="$fresh data.max_bytes_per_domain=8000" limit=8
            tasks=[openbookqa] held=2000 val=0.3 rate= ;;
    laptop) rules="top_s bottom_s random low_nll mid_nll high_nll dsir length_matched" budget=200000
            pool="$fresh data.max_bytes_per_domain=300_000" limit=300 tasks=[commonsense_qa,piqa,openbookqa] held=30000 val=0.15
            # What is right for 0.75M tokens is too much for 0.2M: every arm would end above its beginning (LOG.md, 2026-11-25).
            rate="optimizer.lr=5e-4 optimizer.muon_lr=1e-3" ;;
    paper)  rules="top_s bottom_s random low_nll mid_nll high_nll dsir length_matched" budget=1000000000
            pool="data=slimpajama" limit=null tasks=[mmlu,commonsense_qa,piqa,siqa,openbookqa,boolq] held=10000000 val=0.01 rate= ;;
esac

# Not among the records: the pool is as large as it needs to be.
work=$runs/06_selection_pool
train_models
arms=
for rule in $rules; do arms=$arms,selected_$rule; done
for seed in $(echo "$seeds" | tr , ' '); do
    pair="model.forward=$models/from_scratch_forward_en/$seed/model model.reverse=$models/from_scratch_reverse_en/$seed/model"
    revlm score $pair $pool "run.dir=$work/pool/$seed"
    # All rules choose from the same scores and may spend the same number of tokens.
    revlm select -m "scores=$work/pool/$seed" $pool "rule=$(echo "$rules" | tr ' ' ,)" "budget_tokens=$budget" \
        "seed=$seed" "run.dir='$work/selected/selected_\${rule.name}/$seed'"
done
revlm train +sweep=study_selected "scale=$scale" "name=${arms#,}" "seed=$seeds" "run.root=$out/models" \
    "budget.tokens=$budget" budget.validations=1 "data.val_fraction=$val" $rate $launcher \
    "init.path='$models/from_scratch_forward_en/\${seed}/model'" \
    "data.path='$work/selected/\${name}/\${seed}/selection.parquet'"

before=$(models_of "$models" from_scratch_forward_en)
after=$(models_of "$out/models" $(echo "${arms#,}" | tr , ' '))
all="${before%]},${after#[}"
# Beginnings of documents, so that no long one decides.
revlm score "model=$all" $held_out data.max_bytes_per_document=1_200 "data.max_bytes_per_domain=$held" "run.dir=$out/held_out_en"
revlm evaluate "model=$all" "tasks=$tasks" direction=forward "limit=$limit" "run.dir=$out/evaluated"

revlm collect "runs=$out" "out=$results/records" "keep=[runs.csv,documents.parquet,answers.parquet]"
