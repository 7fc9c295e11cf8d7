#!/bin/sh
# Public pretrained models on text both ways, by domain and language: run.sh smoke | laptop | paper.
# Safe to run again: finished stages are skipped, killed ones continue.
set -eu
cd "$(dirname "$0")/../.."
study=01_pretrained_bias scale=${1:-laptop}
. experiments/common.sh

case $scale in
    smoke)  model=smollm2 size="data.max_bytes_per_document=150 min_tokens=16" bytes=160 some=160 domains="data.domains=[law,news,drama]" ;;
    laptop) model=smollm2 size="data.max_bytes_per_document=800" bytes=12000 some=3000 domains= ;;
    paper)  model=[llama2_7b,mistral_7b,llama3_8b] size= some=$((bytes / 4)) domains= ;;
esac

revlm score "model=$model" data=sample $domains $size "data.max_bytes_per_domain=$bytes" "run.dir=$out/en"
# Some of them beside copies with their words shuffled: what is left when order says nothing.
revlm score "model=$model" data=sample $domains $size "data.max_bytes_per_domain=$some" "data.damage=[word_shuffle]" "run.dir=$out/shuffled"
for language in $(echo "$languages" | tr , ' '); do
    revlm score "model=$model" "data=sample_$language" $size "data.max_bytes_per_domain=$bytes" "run.dir=$out/$language"
done

revlm collect "runs=$out" "out=$results/records" "keep=[documents.parquet]"
