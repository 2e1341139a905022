FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY hive hive
RUN pip install --no-cache-dir '.[atlas]'
COPY examples examples

USER nobody
ENV ATLAS_HOST=0.0.0.0
EXPOSE 8888
CMD ["python", "-m", "examples.atlas"]
