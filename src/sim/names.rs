//! Tables from which names of companies, people and places are put together. No real company is meant.

use super::dice::Dice;

/// First and second syllables of company names, with the initials of their reading.
const SYLLABLES: [(&str, char); 64] = [
    ("华", 'H'),
    ("东", 'D'),
    ("南", 'N'),
    ("新", 'X'),
    ("天", 'T'),
    ("金", 'J'),
    ("海", 'H'),
    ("国", 'G'),
    ("中", 'Z'),
    ("江", 'J'),
    ("山", 'S'),
    ("云", 'Y'),
    ("广", 'G'),
    ("长", 'C'),
    ("宏", 'H'),
    ("恒", 'H'),
    ("瑞", 'R'),
    ("泰", 'T'),
    ("安", 'A'),
    ("德", 'D'),
    ("科", 'K'),
    ("创", 'C'),
    ("联", 'L'),
    ("合", 'H'),
    ("盛", 'S'),
    ("兴", 'X'),
    ("达", 'D'),
    ("通", 'T'),
    ("信", 'X'),
    ("远", 'Y'),
    ("康", 'K'),
    ("明", 'M'),
    ("光", 'G'),
    ("星", 'X'),
    ("航", 'H'),
    ("银", 'Y'),
    ("宝", 'B'),
    ("佳", 'J'),
    ("正", 'Z'),
    ("大", 'D'),
    ("林", 'L'),
    ("雪", 'X'),
    ("龙", 'L'),
    ("凤", 'F'),
    ("松", 'S'),
    ("柏", 'B'),
    ("嘉", 'J'),
    ("润", 'R'),
    ("源", 'Y'),
    ("丰", 'F'),
    ("利", 'L'),
    ("浩", 'H'),
    ("博", 'B'),
    ("思", 'S'),
    ("凯", 'K'),
    ("威", 'W'),
    ("精", 'J'),
    ("立", 'L'),
    ("宇", 'Y'),
    ("辰", 'C'),
    ("晶", 'J'),
    ("捷", 'J'),
    ("锦", 'J'),
    ("绿", 'L'),
];

/// Industries with the ending that a company of theirs has in its name.
pub const INDUSTRIES: [(&str, &str, &str); 36] = [
    ("银行", "银行", "YX"),
    ("证券", "证券", "ZQ"),
    ("保险", "保险", "BX"),
    ("软件服务", "软件", "RJ"),
    ("半导体", "微电", "WD"),
    ("元器件", "电子", "DZ"),
    ("通信设备", "通信", "TX"),
    ("电气设备", "电气", "DQ"),
    ("专用机械", "机械", "JX"),
    ("汽车配件", "汽配", "QP"),
    ("化工原料", "化工", "HG"),
    ("化学制药", "药业", "YY"),
    ("生物制药", "生物", "SW"),
    ("医疗保健", "医疗", "YL"),
    ("中成药", "制药", "ZY"),
    ("白酒", "酒业", "JY"),
    ("食品", "食品", "SP"),
    ("乳制品", "乳业", "RY"),
    ("家用电器", "电器", "DQ"),
    ("服饰", "服饰", "FS"),
    ("建筑工程", "建设", "JS"),
    ("全国地产", "地产", "DC"),
    ("水泥", "水泥", "SN"),
    ("普钢", "钢铁", "GT"),
    ("铜", "铜业", "TY"),
    ("黄金", "黄金", "HJ"),
    ("煤炭开采", "煤业", "MY"),
    ("石油开采", "石油", "SY"),
    ("火力发电", "电力", "DL"),
    ("水务", "水务", "SW"),
    ("环境保护", "环保", "HB"),
    ("港口", "港口", "GK"),
    ("仓储物流", "物流", "WL"),
    ("百货", "百货", "BH"),
    ("影视音像", "传媒", "CM"),
    ("农业综合", "农业", "NY"),
];

/// Areas with a city of theirs.
pub const AREAS: [(&str, &str); 31] = [
    ("广东", "广州市"),
    ("浙江", "杭州市"),
    ("江苏", "南京市"),
    ("北京", "北京市"),
    ("上海", "上海市"),
    ("深圳", "深圳市"),
    ("山东", "济南市"),
    ("福建", "福州市"),
    ("四川", "成都市"),
    ("安徽", "合肥市"),
    ("湖南", "长沙市"),
    ("湖北", "武汉市"),
    ("河南", "郑州市"),
    ("辽宁", "沈阳市"),
    ("河北", "石家庄市"),
    ("江西", "南昌市"),
    ("陕西", "西安市"),
    ("重庆", "重庆市"),
    ("天津", "天津市"),
    ("新疆", "乌鲁木齐市"),
    ("吉林", "长春市"),
    ("山西", "太原市"),
    ("广西", "南宁市"),
    ("黑龙江", "哈尔滨市"),
    ("云南", "昆明市"),
    ("贵州", "贵阳市"),
    ("甘肃", "兰州市"),
    ("海南", "海口市"),
    ("内蒙", "呼和浩特市"),
    ("西藏", "拉萨市"),
    ("宁夏", "银川市"),
];

pub const CONCEPTS: [&str; 24] = [
    "人工智能",
    "机器人",
    "低空经济",
    "固态电池",
    "光伏",
    "储能",
    "创新药",
    "军工",
    "芯片",
    "数据要素",
    "华为产业链",
    "新能源车",
    "算力",
    "液冷",
    "消费电子",
    "国企改革",
    "稀土",
    "核电",
    "跨境电商",
    "预制菜",
    "脑机接口",
    "量子科技",
    "卫星互联网",
    "医美",
];

pub const HOT_MONEY: [&str; 16] = [
    "东湖路",
    "南城帮",
    "西桥街",
    "北关客",
    "量化一号",
    "量化二号",
    "湖滨旧友",
    "山城派",
    "江畔散人",
    "晨曦路",
    "海风街",
    "老城根",
    "云顶帮",
    "竹林路",
    "星河湾",
    "桂花巷",
];

pub const AUDITORS: [&str; 8] = [
    "正衡会计师事务所",
    "天健通会计师事务所",
    "立明会计师事务所",
    "信安会计师事务所",
    "大同会计师事务所",
    "中勤会计师事务所",
    "公允会计师事务所",
    "容和会计师事务所",
];

const FAMILY_NAMES: [&str; 24] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "马",
    "罗", "梁", "宋", "郑", "谢",
];
const GIVEN_NAMES: [&str; 24] = [
    "伟", "芳", "娜", "敏", "静", "强", "磊", "军", "洋", "勇", "艳", "杰", "涛", "明", "超", "霞", "平", "刚", "辉",
    "玲", "健", "文", "波", "宁",
];

/// The stem of a company's name.
#[derive(Clone, Debug)]
pub struct CompanyName {
    pub name: String,
    pub initials: String,
}

/// Two syllables and the ending of the industry: `华东科技`.
pub fn company(dice: &mut Dice, industry: usize) -> CompanyName {
    let (first, second) = (dice.pick(&SYLLABLES), dice.pick(&SYLLABLES));
    let (_, ending, ending_initials) = INDUSTRIES[industry % INDUSTRIES.len()];
    CompanyName {
        name: format!("{}{}{ending}", first.0, second.0),
        initials: format!("{}{}{ending_initials}", first.1, second.1),
    }
}

/// The name of a person.
pub fn person(dice: &mut Dice) -> String {
    let family = dice.pick(&FAMILY_NAMES);
    let given = dice.pick(&GIVEN_NAMES);
    let second = if dice.chance(1, 2) { *dice.pick(&GIVEN_NAMES) } else { "" };
    format!("{family}{given}{second}")
}
