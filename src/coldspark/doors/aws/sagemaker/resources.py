"""What is kept as it was sent, under a name: models and endpoint configs, which differ in words."""

from dataclasses import dataclass

from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker import pages, tags
from coldspark.doors.aws.sagemaker.arns import Resource
from coldspark.doors.aws.sagemaker.errors import already_exists, not_found
from coldspark.doors.aws.sagemaker.records import ListRequest, Tag, read
from coldspark.doors.aws.sagemaker.request import DOOR, SageMakerRequest, seconds
from coldspark.platform.ports import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """One kind of thing, and how AWS spells it."""

    noun: str
    """In ARNs, and as the kind of its documents."""
    title: str
    """In sentences."""
    member: str
    """In requests and replies: before ``Name``, ``Arn`` and the plural's ``s``."""

    async def refuse_taken(self, call: SageMakerRequest, name: str) -> None:
        """Raise a ValidationException if the name is in use."""
        if await call.documents.get(DOOR, self.noun, name) is not None:
            already_exists(self.title, call.arn(self.noun, name))

    async def store(self, call: SageMakerRequest, name: str, given: tuple[Tag, ...]) -> Body:
        """Store a checked request, and its tags apart from it; return what Create answers."""
        await tags.put_tags(call.documents, Resource(self.noun, name), given)
        kept: Body = {member: value for member, value in call.body.items() if member != "Tags"}
        await call.documents.create(DOOR, self.noun, name, kept)
        return {f"{self.member}Arn": call.arn(self.noun, name)}

    async def load(self, call: SageMakerRequest, name: str) -> Document:
        """Return what is stored. Raises a ValidationException if there is none."""
        document = await call.documents.get(DOOR, self.noun, name)
        if document is None:
            not_found(self.title, call.arn(self.noun, name))
        return document

    async def gpu_tag(self, call: SageMakerRequest, name: str) -> str | None:
        """Return the GPU that its tag names, or None."""
        return await tags.gpu_tag(call.documents, Resource(self.noun, name))

    async def describe(self, call: SageMakerRequest) -> Body:
        """Describe…: what was sent, as it was sent."""
        document = await self.load(call, call.name(f"{self.member}Name"))
        return {
            **document.body,
            f"{self.member}Arn": call.arn(self.noun, document.name),
            "CreationTime": seconds(document.created_ms),
        }

    async def list_page(self, call: SageMakerRequest) -> Body:
        """List…: one page of names."""
        documents = await call.documents.find(DOOR, self.noun)
        rows = [
            pages.ListedResource(
                name=one.name, created_ms=one.created_ms, updated_ms=one.updated_ms
            )
            for one in documents
        ]
        shown, token = pages.page(rows, read(ListRequest, call.body))
        summaries = [self._summary(call, row) for row in shown]
        return {f"{self.member}s": summaries} | ({} if token is None else {"NextToken": token})

    async def delete(self, call: SageMakerRequest) -> None:
        """Delete…: endpoints that were made from it keep their own copy of what it said."""
        name = call.name(f"{self.member}Name")
        if not await call.documents.delete(DOOR, self.noun, name):
            not_found(self.title, call.arn(self.noun, name))
        await tags.remove_tags(call.documents, Resource(self.noun, name))

    def _summary(self, call: SageMakerRequest, row: pages.ListedResource) -> Body:
        return {
            f"{self.member}Name": row.name,
            f"{self.member}Arn": call.arn(self.noun, row.name),
            "CreationTime": seconds(row.created_ms),
        }
