"""SageMaker's runtime: InvokeEndpoint and its response stream."""
