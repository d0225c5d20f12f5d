"""The verbs of jeat_tf as pipeline components with typed artifacts, a local runner and lineage.

In a clone this is the package `components`; an installed one is `jeat_tf.components`. Imports here are relative, so
that both work.

Import order: types, manifest, core, code, store, local, the components (two that merge among them), settings, pipeline,
run, lineage; then what clusters need: wiring, kubeflow, beam and its two verbs, tfx.
"""
