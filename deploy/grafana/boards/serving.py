"""*Serving*: load, batches, latency, queues, GPUs."""

from __future__ import annotations

from boards.panels import Board, Line, Panel, Query, Row

RATE = "[$__rate_interval]"
REQUESTS = f"rate(evenhand_gateway_requests_total{RATE})"
SECONDS = f"rate(evenhand_gateway_request_seconds_bucket{RATE})"
ROWS = f"rate(evenhand_batch_rows_sum{RATE})"
CALLS = f"rate(evenhand_batch_rows_count{RATE})"
FILLED = f"rate(evenhand_batch_padding_rows_total{RATE})"
BATCH_SECONDS = f"rate(evenhand_batch_seconds_sum{RATE})"

HEALTH = (
    Panel(
        "Ready",
        "Whether all gateway replicas can take work: models known, ledger and object store answer.",
        [Query('min(evenhand_ready{app="gateway"})', "gateway"), Query("min(evenhand_ledger_up)", "ledger")],
        kind="number",
        width=6,
        height=4,
        colours=[(None, "red"), (1, "green")],
        words={"0": ("no", "red"), "1": ("yes", "green")},
    ),
    Panel(
        "Requests a second",
        "Answered requests, now.",
        [Query(f"sum({REQUESTS})")],
        kind="number",
        unit="reqps",
        width=6,
        height=4,
        decimals=1,
        colours=[(None, "blue")],
    ),
    Panel(
        "Faults of ours",
        "Share of answers INTERNAL, UNKNOWN, UNAVAILABLE or DATA_LOSS. The alert GatewayErrors fires above 1 %.",
        [
            Query(
                f'(sum(rate(evenhand_gateway_requests_total{{status=~"INTERNAL|UNKNOWN|UNAVAILABLE|DATA_LOSS"}}{RATE}))'
                f" or vector(0)) / sum({REQUESTS})"
            )
        ],
        kind="number",
        unit="percentunit",
        width=6,
        height=4,
        decimals=1,
        colours=[(None, "green"), (0.001, "orange"), (0.01, "red")],
    ),
    Panel(
        "Waiting",
        "Requests that wait behind others, in all queues.",
        [Query("sum(evenhand_gateway_waiting)")],
        kind="number",
        width=6,
        height=4,
        colours=[(None, "green"), (32, "orange"), (64, "red")],
    ),
)

LOAD = (
    Row("Requests"),
    Panel(
        "Load",
        "Answered requests a second.",
        [Query(f"sum by (transport) ({REQUESTS})", "{{transport}}")],
        unit="reqps",
    ),
    Panel(
        "Latency",
        "From arrival to answer, all methods together.",
        [
            Query(f"histogram_quantile(0.5, sum by (le) ({SECONDS}))", "median"),
            Query(f"histogram_quantile(0.99, sum by (le) ({SECONDS}))", "99 %"),
        ],
        unit="s",
        lines=[Line("median", colour="blue"), Line("99 %", colour="orange")],
    ),
    Panel(
        "Not OK",
        "Answers other than OK. RESOURCE_EXHAUSTED is admission at work; INTERNAL is a fault of ours.",
        [Query(f'sum by (status) (rate(evenhand_gateway_requests_total{{status!="OK"}}{RATE}))', "{{status}}")],
        unit="reqps",
    ),
    Panel(
        "Slowest methods",
        "95 % of a method's answers come within this time.",
        [Query(f"topk(8, histogram_quantile(0.95, sum by (le, method) ({SECONDS})))", "{{method}}")],
        unit="s",
        width=12,
        height=9,
    ),
    Panel(
        "Queues",
        "Requests served and waiting. A queue that stays full wants more replicas.",
        [
            Query("sum by (queue) (evenhand_gateway_running)", "{{queue}} running"),
            Query("sum by (queue) (evenhand_gateway_waiting)", "{{queue}} waiting"),
        ],
        width=12,
        height=9,
    ),
)

BATCHES = (
    Row("Batches"),
    Panel(
        "Rows through models",
        "Rows a second that networks computed.",
        [Query(f"sum by (model) ({ROWS})", "{{model}}")],
        unit="rowsps",
        width=6,
    ),
    Panel(
        "Rows in a batch",
        "Mean rows of a network call. Near 1 under load: callers do not overlap.",
        [Query(f"sum by (model) ({ROWS}) / sum by (model) ({CALLS})", "{{model}}")],
        width=6,
    ),
    Panel(
        "Time of a batch",
        "Mean time of a network call.",
        [Query(f"sum by (model) ({BATCH_SECONDS}) / sum by (model) ({CALLS})", "{{model}}")],
        unit="s",
        width=6,
    ),
    Panel(
        "Padding",
        "Share of computed rows that only filled batches up.",
        [Query(f"sum by (model) ({FILLED}) / (sum by (model) ({FILLED}) + sum by (model) ({ROWS}))", "{{model}}")],
        unit="percentunit",
        width=6,
        highest=1,
    ),
)

GPUS = (
    Row("GPUs"),
    Panel(
        "GPU busy",
        "Share of time in which the GPU computed anything, as Ray reports it for each node.",
        [Query("max by (instance, GpuIndex) (ray_node_gpus_utilization) / 100", "{{instance}} GPU {{GpuIndex}}")],
        unit="percentunit",
        width=12,
        height=6,
        highest=1,
        empty="no GPU",
    ),
    Panel(
        "GPU memory",
        "Memory in use on each GPU, as Ray reports it.",
        [Query("max by (instance, GpuIndex) (ray_node_gram_used)", "{{instance}} GPU {{GpuIndex}}")],
        unit="mbytes",
        width=12,
        height=6,
        empty="no GPU",
    ),
)

SERVING = Board(
    "evenhand-serving",
    "Evenhand · Serving",
    [*HEALTH, *LOAD, *BATCHES, *GPUS],
    refresh="10s",
    since="now-30m",
)
