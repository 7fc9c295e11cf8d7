"""Every option of every command: its type, its default and what it is for.

The YAML files under conf/ hold only what differs from these defaults. Hydra composes them onto
these classes, so a misspelt key or a wrong type is refused before anything heavy is imported.
"""

from revlm.config.corpus import (
    CorpusConfig,
    Damage,
    DataConfig,
    Granularity,
    Packing,
    Part,
    Source,
    TextFormat,
    Unreadable,
)
from revlm.config.costing import CostConfig, CostOptions
from revlm.config.evaluation import (
    EvaluateConfig,
    QuestionReading,
    QuestionReadingConfig,
)
from revlm.config.generation import (
    ExportConfig,
    GenerateConfig,
    Reading,
    ReadingConfig,
)
from revlm.config.reporting import (
    CollectConfig,
    DashboardConfig,
    ReportConfig,
)
from revlm.config.scoring import (
    ContextsConfig,
    Executor,
    ModelSource,
    ScoreConfig,
    SlurmConfig,
)
from revlm.config.selection import Rule, RuleConfig, SelectConfig
from revlm.config.shared import (
    CacheConfig,
    CurvesConfig,
    FolderConfig,
    RunConfig,
)
from revlm.config.training import (
    BudgetConfig,
    DirectionConfig,
    Init,
    InitConfig,
    LoggerConfig,
    ModelConfig,
    Module,
    OptimizerConfig,
    OptimizerName,
    Schedule,
    Strategy,
    TokenizerConfig,
    TrainConfig,
    TrainerConfig,
    WandbMode,
)
