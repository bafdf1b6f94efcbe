"""The KFP components, one file a stage: typed ports, then ``run_component``; ``pipeline.py`` names their images."""
