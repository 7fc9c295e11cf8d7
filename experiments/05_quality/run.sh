#!/bin/sh
# S and the intersection against quality: damaged copies and labelled sets: run.sh smoke | laptop | paper.
# Safe to run again: finished stages are skipped, killed ones continue.
set -eu
cd "$(dirname "$0")/../.."
study=05_quality scale=${1:-laptop}
. experiments/common.sh

train_models
mixed=$(models_of "$models" from_scratch_mixed_double_en)
damage="data.damage=[word_shuffle,sentence_shuffle,repetition,truncation,ocr]"
# Beginnings of documents, so that there are many of each domain.
ladder="$held_out data.max_bytes_per_document=1_200 data.max_bytes_per_domain=$((bytes / 6)) $damage"
revlm score "model=$mixed" $ladder "run.dir=$out/ladder"
for seed in $(echo "$seeds" | tr , ' '); do
    pair="model.forward=$models/from_scratch_forward_en/$seed/model model.reverse=$models/from_scratch_reverse_en/$seed/model"
    revlm score $pair $ladder "run.dir=$out/ladder_pair_$seed"
done
# Sets of packages that are not installed are left out of a smoke run.
sets=[sms,human_machine,summaries]
if [ "$scale" = smoke ]; then sets=[summaries]; fi
labelled="data=labelled data.domains=$sets data.max_bytes_per_domain=$((bytes * 6)) min_tokens=4"
revlm score "model=$mixed" $labelled "run.dir=$out/labelled"
# Sentences with and without an error, all of them: a cap would part pairs.
if [ "$scale" != smoke ]; then
    train_languages uk
    revlm score "model=$(models_of "$models" from_scratch_mixed_uk)" data=labelled_uk min_tokens=4 "run.dir=$out/labelled_uk"
fi
# Text whose S is known beforehand, each with models of its own.
case $scale in smoke) controls=markov ;; *) controls=markov,shuffled_words,arrow ;; esac
train_controls "$controls"
for control in $(echo "$controls" | tr , ' '); do score_control "$control"; done

revlm collect "runs=$out" "out=$results/records" "keep=[documents.parquet]"
