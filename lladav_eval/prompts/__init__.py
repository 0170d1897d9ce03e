"""Rows of the benchmarks to questions, media and targets: one module per family, named in the YAML of tasks/.

Both protocols use the same prompts: those of the LLaDA-V authors' evaluation, which is a fork of lmms-eval 0.3
(eval/lmms-eval in their repository); for mvbench, pope and ocrbench, which their script doesn't run, lmms-eval 0.7.3's.
Every ``doc_to_text`` gives the text before image placeholders and the think suffix are added.
"""
