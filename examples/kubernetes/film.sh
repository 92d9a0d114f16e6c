#!/usr/bin/env bash
# One film in chunks on Kubernetes: a Job for the plan, an Indexed Job with an index for each chunk, a Job for the join.
#
#     kubectl apply -f volume.yaml         # once: storage that all pods share, on which the film lies
#     bash film.sh
#
# Which film and how is in plan.yaml. The same command goes on after a failure: chunks that are done are not done again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

finished() {
  # Waits until a job has succeeded; one that has failed ends this script.
  local state=
  while [[ $state != *Complete* ]]; do
    if [[ $state == *Failed* ]]; then
      echo "job $1 failed; kubectl describe job/$1 and kubectl logs job/$1 say why" >&2
      exit 1
    fi
    sleep 5
    state=$(kubectl get "job/$1" -o jsonpath='{.status.conditions[*].type}')
  done
}

kubectl delete job scene-plan scene-chunks scene-join --ignore-not-found
kubectl apply -f "$here/plan.yaml"
finished scene-plan
# The plan prints their number.
chunks=$(kubectl logs job/scene-plan | grep -xE '[0-9]+' | tail -n 1)
sed -e "s/^  completions: .*/  completions: $chunks/" "$here/chunks.yaml" | kubectl apply -f -
finished scene-chunks
kubectl apply -f "$here/join.yaml"
finished scene-join
kubectl logs job/scene-join
