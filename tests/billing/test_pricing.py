"""The ledger under price books: the guide's example, what is missing, what is assumed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.billing import prices
from coldspark.billing.bill import Bill
from coldspark.billing.price_book import CPU, Component, PriceBookKind
from coldspark.billing.pricing import price
from coldspark.billing.usage import IdleUsageState, IdleUsageTotals, LedgerTotals, UsageTotals
from coldspark.errors import NotFound
from coldspark.platform import catalogue
from coldspark.spec.money import charge_nanos, format_dollars
from coldspark.spec.types import EndpointName, VariantName

GUIDE = prices.load("guide-2026-03")
DOLLAR = 1_000_000_000
MONTH_MS = 30 * 24 * 3_600_000
NAME = EndpointName("example")


def usage(gpu: str | None, requests: int, busy_ms: int, **changes: object) -> UsageTotals:
    """Return totals of one variant."""
    values: dict[str, object] = {
        "endpoint": NAME,
        "variant": VariantName("main"),
        "gpu": gpu,
        "gpu_count": 1.0 if gpu else 0.0,
        "is_simulated": False,
        "requests": requests,
        "errors": 0,
        "cold": 0,
        "busy_ms": busy_ms,
        "duration_ms": busy_ms,
        "busy_nanos": 0,
        "bytes_in": 0,
        "bytes_out": 0,
    }
    return UsageTotals(**(values | changes))  # type: ignore[arg-type]


def idle(gpu: str | None, duration_ms: int, *, is_provisioned: bool = True) -> IdleUsageTotals:
    """Return what idled."""
    return IdleUsageTotals(
        endpoint=NAME,
        gpu=gpu,
        gpu_count=1.0,
        is_simulated=False,
        state=IdleUsageState.IDLE,
        is_provisioned=is_provisioned,
        duration_ms=duration_ms,
        nanos=7,
    )


def by_component(bill: Bill) -> dict[Component, int]:
    """Add lines up by what they are for."""
    sums: dict[Component, int] = {}
    for line in bill.lines:
        sums[line.component] = sums.get(line.component, 0) + (line.nanos or 0)
    return sums


def guide_example() -> LedgerTotals:
    """Return 1,000 requests a day of 2 s for 30 days on A10G with two provisioned slots."""
    busy_ms = 30_000 * 2_000
    return LedgerTotals(
        usages=(usage("A10G", 30_000, busy_ms),),
        idle_usages=(idle("A10G", 2 * MONTH_MS - busy_ms),),
    )


def test_the_guides_example_costs_61_dollars_not_160() -> None:
    """Compute is $2.50, not $100; invocations $21; provisioned $38 (exactly $38.16)."""
    bill = price(GUIDE, guide_example(), wall_ms=MONTH_MS)
    assert by_component(bill) == {
        Component.INVOCATIONS: 21 * DOLLAR,
        Component.COMPUTE: 2_500_000_000,
        Component.TRANSFER: 0,
        Component.PROVISIONED: 38_160_000_000,
    }
    assert bill.total_nanos == 61_660_000_000
    rounded_as_the_guide_does = bill.total_nanos - 160_000_000
    assert rounded_as_the_guide_does == 61_500_000_000


def test_the_guides_errors_stand_beside_its_figures() -> None:
    """Every bill under the guide's book carries what it prints and what follows."""
    printed = {row.printed: row.computed for row in price(GUIDE, guide_example()).corrections}
    assert printed["~$100 a month"] == "$2.50 a month"
    assert printed["~$160 a month"] == "$61.50 a month"


def test_a_dedicated_a10g_costs_547_dollars_a_month() -> None:
    """The guide says ~$550 for $0.76/h: it does follow."""
    dedicated = price(GUIDE, guide_example(), wall_ms=MONTH_MS).dedicated
    assert dedicated is not None
    assert dedicated.nanos == 547_200_000_000


def test_data_transfer_is_listed_as_not_priced() -> None:
    """The guide names the component but no rate: the bill says so instead of charging zero."""
    bill = price(GUIDE, LedgerTotals(usages=(usage("A10G", 1, 1, bytes_in=5),), idle_usages=()))
    assert [(row.component, row.why) for row in bill.missing] == [
        (Component.TRANSFER, "not priced by the guide")
    ]
    assert [line.nanos for line in bill.lines if line.component is Component.TRANSFER] == [None]


def test_cpu_usage_is_priced_as_a_named_gpu() -> None:
    """The assumption is printed."""
    totals = LedgerTotals(usages=(usage(None, 10, 3_600_000),), idle_usages=())
    bill = price(GUIDE, totals, as_gpu="T4")
    assert by_component(bill)[Component.INVOCATIONS] == 3_500_000
    assert bill.assumptions == ("assumed: what ran here on CPU would have taken as long on T4",)
    assert any(line.is_estimated for line in bill.lines)


def test_without_a_substitute_unpriced_usage_is_missing() -> None:
    """An L4 has no rate in the guide."""
    bill = price(GUIDE, LedgerTotals(usages=(usage("L4", 1, 10),), idle_usages=()), as_gpu=None)
    assert bill.total_nanos == 0
    assert {row.component for row in bill.missing} >= {Component.INVOCATIONS, Component.COMPUTE}


def test_own_book_adds_up_to_the_ledger() -> None:
    """Nothing is added to, or lost from, what the meter recorded."""
    totals = LedgerTotals(
        usages=(usage("A10G", 3, 100, busy_nanos=1_000),),
        idle_usages=(idle("A10G", 5), idle(None, 5, is_provisioned=False)),
    )
    bill = price(prices.load("own"), totals)
    assert bill.kind is PriceBookKind.ALLOCATED
    assert bill.total_nanos == totals.nanos == 1_014


def test_a_book_that_bills_held_time_charges_idling() -> None:
    """RunPod bills from start to stop."""
    totals = LedgerTotals(
        usages=(usage("RTX-4090", 1, 1_000),),
        idle_usages=(idle("RTX-4090", 9_000, is_provisioned=False),),
    )
    assert price(prices.load("runpod-2026-10"), totals).total_nanos == 10 * 310_000


def test_shares_and_several_devices_are_billed_as_whole_devices() -> None:
    """Half a GPU is one there; two are two."""
    modal = prices.load("modal-2026-07")
    half = price(
        modal, LedgerTotals(usages=(usage("T4", 1, 1_000, gpu_count=0.5),), idle_usages=())
    )
    two = price(modal, LedgerTotals(usages=(usage("T4", 1, 1_000, gpu_count=2.0),), idle_usages=()))
    assert (half.total_nanos, two.total_nanos) == (164_000, 328_000)
    assert "assumed: a share of a GPU is billed as a whole one" in half.assumptions


def test_provisioned_time_never_exceeds_the_slots_that_idled() -> None:
    """A burst over one provisioned slot does not make it two."""
    totals = LedgerTotals(
        usages=(usage("A10G", 1, 10 * MONTH_MS),), idle_usages=(idle("A10G", MONTH_MS // 2),)
    )
    bill = price(GUIDE, totals, wall_ms=MONTH_MS)
    assert by_component(bill)[Component.PROVISIONED] == 19_080_000_000


def test_lambda_bills_starts_and_requests_by_memory() -> None:
    """2 GiB x 3 s at $0.0000166667 and two requests at $0.20 a million; idling is free."""
    totals = LedgerTotals(
        usages=(usage(None, 2, 2_000),),
        idle_usages=(
            idle(None, 60_000, is_provisioned=False),
            replace(idle(None, 1_000, is_provisioned=False), state=IdleUsageState.STARTING),
        ),
    )
    bill = price(prices.load("lambda"), totals, memory_bytes=2 * 2**30)
    assert bill.total_nanos == 33_333 + 66_667 + 400
    assert all(line.is_estimated for line in bill.lines)


@pytest.mark.parametrize(
    ("memory_bytes", "gpu", "why"),
    [
        (None, None, "lambda bills by memory: say how much each replica has"),
        (11 * 2**30, None, "lambda has at most 10,240 MiB of memory"),
        (2**30, "A10G", "lambda has no compute rate for A10G"),
    ],
)
def test_what_lambda_cannot_do_is_missing_not_free(
    memory_bytes: int | None, gpu: str | None, why: str
) -> None:
    """Nothing is silently zero."""
    totals = LedgerTotals(usages=(usage(gpu, 1, 1_000),), idle_usages=())
    bill = price(prices.load("lambda"), totals, memory_bytes=memory_bytes)
    assert why in [row.why for row in bill.missing]


def test_sagemaker_serverless_as_aws_bills_it_has_no_charge_for_each_invocation() -> None:
    """1,000 s with 2 GB are $0.04, and 1 GB of data $0.016."""
    totals = LedgerTotals(usages=(usage(None, 500, 1_000_000, bytes_in=10**9),), idle_usages=())
    bill = price(prices.load("sagemaker-serverless"), totals, memory_bytes=2 * 2**30)
    assert bill.total_nanos == 56_000_000


def test_whole_instances_are_billed_by_the_hour_used_or_not() -> None:
    """A month of g5.xlarge; an L4 is not sold there, which is missing."""
    book = prices.load("ec2-on-demand")
    bill = price(book, guide_example(), wall_ms=MONTH_MS)
    assert bill.total_nanos == 724_320_000_000
    none = price(
        book, LedgerTotals(usages=(usage("L4", 1, 1),), idle_usages=()), wall_ms=1, as_gpu="L4"
    )
    assert [row.component for row in none.missing] == [Component.DEDICATED]


def test_simulated_devices_are_named() -> None:
    """A rehearsal never looks like hardware."""
    bill = price(
        GUIDE, LedgerTotals(usages=(usage("T4", 4, 1, is_simulated=True),), idle_usages=())
    )
    assert "simulated: 4 requests ran on simulated devices, not on GPUs" in bill.assumptions


def test_every_type_of_every_book_is_in_the_catalogue() -> None:
    """Books and catalogue speak of the same types."""
    for name in prices.names():
        book = prices.load(name)
        for gpu in {*book.rates, *book.dedicated} - {CPU}:
            found = catalogue.load().gpu(gpu)
            assert found is not None, (name, gpu)
            assert found.name == gpu


def test_an_unknown_book_names_the_nearest() -> None:
    """A misspelt book is told the right one."""
    assert prices.names()[0] == "own"
    with pytest.raises(NotFound, match="guide-2026-03"):
        prices.load("guide-2026")


@given(st.integers(0, 10**12), st.integers(0, 10**10), st.integers(1, 10**9))
def test_rounding_is_half_up_and_within_half_a_nano(quantity: int, rate: int, per: int) -> None:
    """One named place rounds."""
    charged = charge_nanos(quantity, rate, per)
    assert -per <= 2 * (charged * per - quantity * rate) <= per


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (61_500_000_000, "$61.50"),
        (1_234_567_000_000, "$1,234.57"),
        (700_000, "$0.000700"),
        (123, "$0.000000123"),
        (1, "$0.000000001"),
        (50_000_000, "$0.0500"),
        (-700_000, "$-0.000700"),
    ],
)
def test_money_is_written_for_people(nanos: int, text: str) -> None:
    """Small sums keep three digits that count."""
    assert format_dollars(nanos) == text
