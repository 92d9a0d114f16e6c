#!/usr/bin/env bash
# One film in chunks on a Slurm cluster, from a login node. Paths on storage that all nodes share:
#
#     bash film.sh /shared/film.mkv /shared/film-x265.mkv --codec x265 --crf 24
#
# Three jobs: the plan, an array with a task for each chunk, and the join when all of them are done.
set -euo pipefail
if (($# < 2)); then
  echo "usage: $0 SRC DST [options of scene job plan]" >&2
  exit 2
fi
source=$1 destination=$2
shift 2
work=$destination.job
here=$(cd "$(dirname "$0")" && pwd)
# Tasks at a time; Slurm's MaxArraySize (1001 by default) bounds how many there are.
at_once=${AT_ONCE:-64}

chunks=$(srun --job-name=scene-plan --ntasks=1 --cpus-per-task=4 --mem=4G \
  scene job plan "$source" "$destination" --work "$work" "$@")
array=$(sbatch --parsable --array="0-$((chunks - 1))%$at_once" "$here/chunk.sbatch" "$work")
sbatch --dependency="afterok:$array" --kill-on-invalid-dep=yes "$here/join.sbatch" "$work"
echo "scene job status $work says how far it is; run this command again to go on after a failure."
