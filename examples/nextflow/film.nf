#!/usr/bin/env nextflow
// One film in chunks with Nextflow 24.04 or later: the plan, a task for each chunk, and the join when all of them are done.
//
//     nextflow run film.nf --src /shared/film.mkv --dst /shared/film-x265.mkv --options '--codec x265 --crf 24'
//
// Paths are absolute, on storage that all nodes share: values and not staged files, since the tasks work in one folder, which
// is what makes a chunk that is done not be done again. `-resume` is not needed. An executor is chosen in nextflow.config, such
// as process.executor = 'slurm'.
//
// Parsed by Reftrace 0.6. Not run.

params.src = null
params.dst = null
params.options = ''

process PLAN {
    cpus 4
    memory '4 GB'

    input:
    tuple val(src), val(dst)

    output:
    tuple val("${dst}.job"), stdout

    script:
    """
    scene job plan '${src}' '${dst}' --work '${dst}.job' ${params.options}
    """
}

process CHUNK {
    cpus 4
    memory '4 GB'
    time '4h'
    // Invalid arguments, an unreadable source and a target out of reach (2, 3, 5, 6) are not tried again.
    errorStrategy { task.exitStatus in [2, 3, 5, 6] ? 'terminate' : 'retry' }
    maxRetries 3

    input:
    tuple val(work), val(index)

    output:
    val work

    script:
    """
    scene job run '${work}' --index ${index}
    """
}

process JOIN {
    cpus 2
    memory '4 GB'

    input:
    val work

    script:
    """
    scene job join '${work}'
    """
}

workflow {
    if (!params.src || !params.dst) {
        error "give --src and --dst, absolute paths on shared storage"
    }
    planned = PLAN(channel.of([params.src, params.dst]))
    indices = planned.flatMap { work, chunks -> (0..<chunks.trim().toInteger()).collect { index -> [work, index] } }
    done = CHUNK(indices)
    JOIN(done.collect().map { works -> works[0] })
}
