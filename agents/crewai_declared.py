"""What is known of the classes of crewai-tools, by name. Imports nothing of CrewAI: `muster plan` reads it, too."""

from typing import NamedTuple

_FILES = (
    "FileReadTool DirectoryReadTool DirectorySearchTool CSVSearchTool DOCXSearchTool JSONSearchTool MDXSearchTool "
    "PDFSearchTool TXTSearchTool XMLSearchTool RagTool LlamaIndexTool OCRTool VisionTool ContextualAIParseTool"
)
_WEB = (
    "ArxivPaperTool BraveImageSearchTool BraveLLMContextTool BraveLocalPOIsDescriptionTool BraveLocalPOIsTool "
    "BraveNewsSearchTool BraveSearchTool BraveVideoSearchTool BraveWebSearchTool BrightDataDatasetTool "
    "BrightDataSearchTool BrightDataWebUnlockerTool BrowserbaseLoadTool CodeDocsSearchTool EXASearchTool ExaSearchTool "
    "FirecrawlCrawlWebsiteTool FirecrawlScrapeWebsiteTool FirecrawlSearchTool GithubSearchTool HyperbrowserLoadTool "
    "JinaScrapeWebsiteTool LinkupSearchTool OxylabsAmazonProductScraperTool OxylabsAmazonSearchScraperTool "
    "OxylabsGoogleSearchScraperTool OxylabsUniversalScraperTool ParallelSearchTool ScrapeElementFromWebsiteTool "
    "ScrapeWebsiteTool ScrapegraphScrapeTool ScrapflyScrapeWebsiteTool SeleniumScrapingTool SerpApiGoogleSearchTool "
    "SerpApiGoogleShoppingTool SerperDevTool SerperScrapeWebsiteTool SerplyJobSearchTool SerplyNewsSearchTool "
    "SerplyScholarSearchTool SerplyWebSearchTool SerplyWebpageToMarkdownTool SpiderTool TavilyExtractorTool "
    "TavilyGetResearchTool TavilySearchTool URLReadTool WebsiteSearchTool YoutubeChannelSearchTool "
    "YoutubeVideoSearchTool"
)
_STORES = (
    "AzureDocumentDBVectorSearchTool BedrockKBRetrieverTool ContextualAIQueryTool CouchbaseFTSVectorSearchTool "
    "DB2VectorSearchTool MongoDBVectorSearchTool MySQLSearchTool OracleVectorSearchTool QdrantVectorSearchTool "
    "S3ReaderTool SingleStoreSearchTool WeaviateVectorSearchTool"
)
_RUN_BY_OTHERS = (
    "AIMindTool ApifyActorsTool BedrockInvokeAgentTool ComposioTool EnterpriseActionTool InvokeCrewAIAutomationTool "
    "MergeAgentHandlerTool MultiOnTool StagehandTool ZapierActionTool"
)
_JUDGES = "ContextualAIRerankTool PatronusEvalTool PatronusLocalEvaluatorTool PatronusPredefinedCriteriaEvalTool"
_PAID = "ContextualAICreateAgentTool DallETool GenerateCrewaiAutomationTool TavilyResearchTool"
_SQL = "DatabricksQueryTool NL2SQLTool SnowflakeSearchTool"
_CODE = "DaytonaExecTool DaytonaFileTool DaytonaPythonTool E2BExecTool E2BFileTool E2BPythonTool"


class Declared(NamedTuple):
    """What is known of a class of crewai-tools."""

    effect: str
    repeat: str
    returns: str
    private: bool
    afar: bool = False
    """Whether it asks something outside of this machine although it only reads: what it asks, others get to read."""


UNDECLARED = Declared("send", "once", "untrusted", False, afar=True)
"""The worst: it sends, must not be done twice, and anybody may have written what it returns."""

DECLARED: dict[str, Declared] = {
    name: declared
    for names, declared in (
        (_FILES, Declared("read", "safe", "untrusted", False)),
        (_WEB, Declared("read", "safe", "untrusted", False, afar=True)),
        (_STORES, Declared("read", "safe", "untrusted", True)),
        (_RUN_BY_OTHERS, Declared("send", "once", "untrusted", True)),
        (_JUDGES, Declared("read", "safe", "trusted", False)),
        (_PAID, Declared("spend", "once", "untrusted", False)),
        (_SQL, Declared("execute", "once", "untrusted", True)),
        (_CODE, Declared("execute", "once", "untrusted", False)),
        ("FileWriterTool FileCompressorTool", Declared("write", "safe", "trusted", False)),
        ("S3WriterTool", Declared("send", "safe", "trusted", False)),
        ("WaitTool", Declared("read", "safe", "trusted", False)),
    )
    for name in names.split()
}
"""What the well-known ones do; policy.yaml may say otherwise under `tools:`. Any other counts as the worst."""
