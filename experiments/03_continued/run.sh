#!/bin/sh
# A forward model continued forward, in reverse and both ways; SmolLM2 once: run.sh smoke | laptop | paper.
# Safe to run again: finished stages are skipped, killed ones continue.
set -eu
cd "$(dirname "$0")/../.."
study=03_continued scale=${1:-laptop}
. experiments/common.sh

# Half of what the forward model read, in each direction.
case $scale in smoke) tokens=4000 ;; laptop) tokens=750000 ;; paper) tokens=500000000 ;; esac

train_models
revlm train +sweep=study_continued "scale=$scale" "seed=$seeds" "run.root=$out/models" \
    "budget.tokens=$tokens" budget.per_direction=true \
    "init.path='$models/from_scratch_forward_en/\${seed}/model'" $launcher
# A public model once, with what two cores allow; on a cluster, the paper's.
case $scale in
    smoke)  public=smollm2   less="budget.tokens=520 budget.validations=1" some="data.max_bytes_per_document=150 data.max_bytes_per_domain=160 data.domains=[law,news] min_tokens=16" ;;
    laptop) public=smollm2   less= some="data.max_bytes_per_document=800 data.max_bytes_per_domain=2400" ;;
    paper)  public=llama2_7b less= some="data.max_bytes_per_domain=$((bytes / 4))" ;;
esac
revlm train +experiment=continued_mixed "scale=$scale" $less ckpt_path=last arm=public_continued_mixed \
    "run.dir=$out/models/public_continued_mixed/0"
revlm score "model=[$public,$out/models/public_continued_mixed/0/model]" data=sample data.part=held_out $some "run.dir=$out/held_out_public"

arms="continued_forward_en continued_reverse_en continued_mixed_en"
before="from_scratch_forward_en from_scratch_mixed_en from_scratch_mixed_double_en"
take_scores "$out/held_out_en" $before
english=$(models_of "$models" $before)
english="${english%]},$(models_of "$out/models" $arms | tr -d '[]')]"
revlm score "model=$english" $held_out "run.dir=$out/held_out_en"

revlm collect "runs=$out" "out=$results/records" "keep=[runs.csv,validations.csv,documents.parquet]"
