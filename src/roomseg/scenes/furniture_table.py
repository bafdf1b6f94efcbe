"""The reviewed table of the five real libraries: for each of their 820 models its kind, or why it is left out.

A model is named by its folder in its library's archive. Kinds and fronts were checked on rendered pictures of every
model that is kept; all of them face the front that the format gives.
"""

from __future__ import annotations

from collections.abc import Mapping

from roomseg.scenes.furniture_classes import Kind

_BLENDSWAP_CC_0: dict[Kind, str] = {
    "bed": "bed1 bed2 bed3 bedWithTexture",
    "crib": "babyRockingBed",
    "bedside_table": "bedsideTable2",
    "wardrobe": "wardrobeWithSlidingDoors",
    "chair": "oakChair plasticChair sillaBlanca chair antiqueChair chairWithCushion chair2 osakaChair designChair "
    "thonet",
    "office_chair": "armchair",
    "armchair": "armchair2 modernArmchair winchesterArmchair relaxChair",
    "sofa": "couch sofa2 winchesterSofa",
    "corner_sofa": "L_shaped_sofa sofa couch2",
    "stool": "pianoBench foldingChair",
    "bar_stool": "silla2 stool stool2",
    "bench": "bench",
    "dining_table": "oakTable tableWithTablecloth table",
    "desk": "desk lbDesk technicalTable1 technicalTable2",
    "tv_stand": "televisionCabinet",
    "bookcase": "bookcase shelves verticalShelves",
    "cabinet": "cupboard lockedLocker",
    "kitchen_cabinet": "drawersCabinet lowerCabinet",
    "kitchen_tall_cabinet": "highCabinet",
    "kitchen_wall_cabinet": "glassDoorCabinet smallUpperCabinet upperCabinet upperShelves",
    "tv": "led_tv",
    "speaker": "speaker2 speaker3",
    "oven": "doubleOven oven",
    "cooktop": "mano_cooktop stove",
    "hood": "rangeHood",
    "refrigerator": "refrigerator largeFridge",
    "small_appliance": "kitchenaid coffeeBrewer",
    "fan": "tableFan riggedFan",
    "sink": "sinkCabinet",
    "washbasin": "washbasin modernVanity",
    "shower": "showerStall",
    "toilet": "toiletsUnit",
    "bidet": "bidet",
    "ceiling_lamp": "lamp2",
    "table_lamp": "desklamp JapaneseLantern",
    "wall_lamp": "wallLight",
    "plant": "decorativePlant plant",
    "small_plant": "littlePlant augalas cactus orchids",
    "sculpture": "deer",
    "rug": "tatami",
    "piano": "pianoAQueue",
    "game_table": "poolTable table_football",
    "instrument": "electricGuitar",
    "sports": "basketball",
    "toy": "caballito teddyBear",
    "stair": "spiralStaircase",
    "radiator": "radiator radiator1 radiator2 radiator3",
    "small_object": "knifeStandSwap mamadeira tetrapak yogurtBottle bread beerGlass kalender handbag",
    "box": "ammoBox crate box briefcase",
    "bin": "dustbin barrel",
    "towel_rack": "towel3",
    "floor_object": "whiteBoard potty fireExtinguisher umbrellaFolded",
}

_BLENDSWAP_CC_BY: dict[Kind, str] = {
    "bed": "juniorBed lettoCloud",
    "bunk_bed": "bunkBed",
    "bedside_table": "bedsideTable",
    "wardrobe": "wardrobe wardrobe2",
    "dresser": "dresserWithDrawers chest",
    "chair": "cafe_set_mota_chair cafe_set_tonon_chair chairWithCushion childChair ella_chair_f leaf_chair classSeat "
    "foldingChair plaidChair kitchenChair chair3 chair4",
    "armchair": "armchair1 fotel armChair2",
    "sofa": "sofa2 sofa3 couch3",
    "corner_sofa": "cornerSofa",
    "stool": "green_stool",
    "dining_table": "table cafe_set_mota_table cafe_set_tonon_table",
    "coffee_table": "coffeeTable",
    "desk": "biurko3 simpleDesk officeTable",
    "tv_stand": "tvStand",
    "bookcase": "bookcase",
    "cabinet": "sef-kasa",
    "kitchen_cabinet": "kitchenDrawersCabinet kitchenIsland kitchenLowerCabinet kitchenSmallLowerCabinet",
    "kitchen_wall_cabinet": "kitchenSmallUpperCabinet kitchenUpperCabinet kitchenGlassDoorCabinet",
    "computer": "laptop",
    "speaker": "radio mp3Station",
    "oven": "largeStove",
    "hood": "hood",
    "washing_machine": "washing_machine",
    "small_appliance": "boiler kitchenblender microwave espressokettle",
    "sink": "kitchenSink",
    "washbasin": "washbasin_jay_hardy",
    "bath": "bath_jay_hardy",
    "toilet": "toilets_unit_jay_hardy modernToilet",
    "ceiling_lamp": "hangingLight",
    "table_lamp": "lamp",
    "plant": "mediumIndoorPlant spatifilum yuccaPlant decorativePlant",
    "small_plant": "arbolito luckyBamboo spider_plant succulentPlant tulip tulips",
    "piano": "piano",
    "game_table": "table_tennis",
    "sports": "abdominalBench ballonFoot treadmill fitnessTower",
    "toy": "carrito-de-madera toyTrain",
    "radiator": "bathroomRadiator modernRadiator radiatorAndTowels",
    "small_object": "gift glass kitchenTools thermometer breadBox kitchenScale utensilsPot wirelessOfficePhone3 "
    "cocktailGlass coffeePress largePan coffee_cup beer_bottle",
    "box": "suitcase",
    "floor_object": "backpack wheelchair workbench",
}

_KATORLEGAZ: dict[Kind, str] = {
    "chair": "cafe-chair dining-chair",
    "office_chair": "office-chair",
    "armchair": "mid-century-chair chair-ottoman",
    "sofa": "futon-couch mid-century-bench-sofa mid-century-sofa",
    "bench": "bench",
    "bar_stool": "bar-stool",
    "dining_table": "cafe-table folding-table glass-dining-table",
    "desk": "custom-desk",
    "bookcase": "utility-shelving full-bookcase",
    "cabinet": "filing-cabinet",
    "refrigerator": "fridge",
    "computer": "apple-ibook-2001 apple-imac-1998",
    "oven": "propane-stove",
    "small_appliance": "coffee-maker",
    "ceiling_lamp": "hanging-restaurant-light fluorescent fluorescent-strip track-lights",
    "table_lamp": "pedestal-vase-lamp",
    "wall_lamp": "porch-light wall-lamp-artwork wall-spotlight",
    "rug": "bathmat oriental-rug",
    "instrument": "MIDI-keyboard",
    "door": "exterior-door-01 exterior-door-02 exterior-door-03 exterior-door-05 exterior-door-07 screen-door",
    "window": "window-01 window-08 window-08-02",
    "curtain": "window-blinds",
    "column": "porch-column-01 porch-column-02 porch-column-03",
    "small_object": "spray-bottle bowl oil-servers plate-and-ustensils red-wine-bottle-01 12-oz-glass highball-glass "
    "coffee-mug",
    "box": "recycling-bin trunk-large",
    "bin": "bullet-trash-can residential-trashcan",
    "towel_rack": "towel-rack",
}

_SCOPIA: dict[Kind, str] = {
    "bed": "bed1 iron_bed children_bed hospital-bed captains-bed day_bed_frame futon convertible-sofa-BZ-opened",
    "bunk_bed": "mezzanine-bed",
    "crib": "crib",
    "wardrobe": "wardrobe1",
    "dresser": "changing-table",
    "chair": "armchair3 chair3 chair4 chair tubular_chair kids_desk_chair plastic_chair white_kitchen_chair "
    "silla_teca children_chair ryokanChair baby_high_chair",
    "office_chair": "office_chair",
    "armchair": "armchair armchair1 armchair2 modern_armchair rattanArmchair ext_chair",
    "sofa": "clear_sofa simple_sofa beige_sofa_2seats beige_sofa burlap_sofa leather_sofa sofa_white_beige "
    "convertible-sofa-BZ-closed rattanSofa",
    "stool": "puff",
    "bar_stool": "bar_chair kitchen_stool",
    "dining_table": "black_table table3 table4 metal_glass_table white_kitchen_table round-table table-on-trestles "
    "table-with-leaning-feet bar_table",
    "coffee_table": "saloon_table coffee_table living_room_table table_wood_and_iron coffee-table2 rattanTable",
    "side_table": "children_table",
    "desk": "wooden_table_office glass_table_office desk_table kids_desk_table kids_wooden_desk "
    "wooden_office_alder_table wooden_office_pear_table_rect wooden_office_pear_table wooden_office_teak_table",
    "dressing_table": "dressing-table",
    "tv_stand": "contemp_living_room",
    "bookcase": "dining_room kids_shelves office_furniture1",
    "cabinet": "box_room office_box",
    "tv": "tv wall-flat-tv",
    "computer": "apple_pc",
    "printer": "inkjet_and_scanner_printer",
    "speaker": "mini_stereo stereo_amplifier video-projector mp3_base_for_ipad playstation4 dvd",
    "oven": "small-oven",
    "cooktop": "induction-cooker-2-zones induction-cooker-4-zones",
    "hood": "kitchenHood",
    "refrigerator": "chest-freezer",
    "washing_machine": "clothes_washing_machine dryer_machine",
    "small_appliance": "coffee_machine cooker deepFryerWithFrenchFries toaster sandwichMaker stoneGrillDevice",
    "air_conditioner": "internal-unity-air-conditioning",
    "washbasin": "bathroom1 bathroom3 bathroom4 bathroom_vanity double_vanity small_lavatory",
    "bath": "corner_bathtub islandBath",
    "ceiling_lamp": "saloon_lamp ceiling-lamp",
    "floor_lamp": "living_lamp",
    "table_lamp": "desk_lamp1 desk_lamp2 little_lamp1 little_lamp2 little_lamp3 table_lamp living_room_lamp1",
    "plant": "maceta ficus christmas_tree",
    "small_plant": "bonsai-tree",
    "sculpture": "vase1 vase2 vase3 vase5 jar old_jar",
    "rug": "round-carpet doormat tatami",
    "curtain": "curtain",
    "game_table": "flipper",
    "sports": "indoor-bike punching-ball",
    "toy": "doll-house doll tricycle",
    "door": "puerta door double_door double_door_2 double_door_with_little_part glass_door glassDoor2",
    "window": "turn-window window_2x1_medium_with_large_pane window_2x1_with_sliders window_2x3_arched "
    "window_2x3_regular window_2x3 window_2x4_arched window_2x4 window_2x6 window_3x1 window_4x1 window_4x3_arched "
    "window_4x3 window_4x5",
    "fireplace": "fireplace1 fireplace2",
    "build_element": "electric_water_heater electric_water_heater_big gaz_water_heater furnace",
    "small_object": "bowl pottery wine_bottle apples com_bath com_bath2_soap com_bath2_jabon_pijo creamer cup sugar "
    "teapot penbox phone birthday_cake folded_clothes basin bowlWithFruits bowlWithSalad candle complements2 "
    "kitchenKnifeStandSet paperTowelHolder spiceTower roasted-chicken squeezer frame1 frame2 casque chapeau "
    "casquette",
    "box": "cardboard-box open-cardboard-box",
    "clothes_rack": "clothes-rack clothes-horse",
    "towel_rack": "com_bath3",
    "floor_object": "japanese_style_screen shopping-basket step-ladder-metal step-ladder-wood stroller "
    "clothes-basket wood_logs broom aquarium",
}

_LEFT_OUT: dict[str, dict[str, str]] = {
    "people and animals": {
        "blendswap-cc-0": "chicken horse2",
        "blendswap-cc-by": "bulldog horse siameseCat",
        "katorlegaz": "female-01-casual-clothing male-01-suit",
        "reallusion": "female01 female02 female03 male01 male02 male03 holdingMale01 holdingFemale01 holdingFemale02 "
        "holdingFemale03 sitMale03 lyingDownFemale01 lyingDownMale01 lyingDownMale02 sitFemale01 sitFemale02 "
        "sitFemale03 sitMale01 sitMale02 boyLying boySitting boyStanding girlSittingGround girlSittingTable "
        "girlStanding",
        "scopia": "cat dog rabbit mannequinMale mannequinBrunette",
    },
    "vehicles": {
        "blendswap-cc-0": "forkLift motorbike peterbilt",
        "blendswap-cc-by": "bike fordFocus dafTruck rowboat",
        "katorlegaz": "concept-sedan-01v1 concept-sedan-01v2 concept-sedan-02 concept-sedan-02-sport scooter "
        "VW-new-beetle",
        "scopia": "seat_leon peugeot-308 renault-scenic yamaha-yzr-r6 scooter truck bicycle bus scooter2 suv "
        "chevrolet van smart-car cityBus skateboard",
    },
    "outdoor and workshop": {
        "blendswap-cc-0": "flowerBox mofx_mailbox pallet deckChair umbrella childHut childSwing fence seesaw "
        "shippingContainer wheelbarrow lantern outdoorLamp pedestrianRailing1 pedestrianRailing2 plantie rock1 rock2 "
        "rock3 stoneLantern",
        "blendswap-cc-by": "chair_deck poolLounge bonecoDeNeve fountain campingLamp",
        "katorlegaz": "concrete-bench painted-bench park-trashcan classic-lamppost park-light iron-railing-02 "
        "concrete-sidewalk fire-hydrant hose-reel window-shutter",
        "scopia": "parque farola1 littlebank ext_table wood_bank beach_chair child_swing letters_box "
        "external-unity-air-conditioning basketball_net_and_board jacuzzi rectangle-swimming-pool round-swimming-pool "
        "sandpit dog-house garden-faucet trampoline diving-board garage-door garage-door2 mower swimming-pool "
        "air-mattress sleepingBag iron-railing-1 iron-railing-2 iron-railing-3 passage-a-niveau passage-pieton cone "
        "candelabre rails fleche-tout-droit fleche-tourner-a-droite-et-direct fleche-tourner-a-droite "
        "stationnement-creneau stationnement-en-bataille stationnement-epi-45 stationnement-epi-60 "
        "stationnement-epi-75 barnum big-football-goal bush entry-bell-ring entry-bell-speech-unit football-goal "
        "garden-hut high-hedge hedge hedgeTextured chimney round-chimney acacia bamboo ficusTree bluePineSnow "
        "campingTent coconutTree coconutTreeBended copperBeech cypress hammock japaneseMaple poplar palm peachBlossom "
        "pine pineSnow sabalPalmeto sycamoreMaple shovel pelle elevator elevator-door escalator",
    },
    "smaller than a voxel or two": {
        "blendswap-cc-0": "butter caffe_final cartoon_biplane cissors_swap comb cosmeticsPot housePuzzle plasticCup "
        "ruler textMarker flacon headphones iphone cardGame numberLock slippers bootie cupcake hotDog woodToy "
        "emergencySign",
        "blendswap-cc-by": "book choppingBoard clock fork kitchenKnife knife lipStick mobile spoon wallDoubleSocket "
        "wallSocket wire-coathanger rubix2 hamburger sunglasses tableTennisBat xylophone saltShaker",
        "katorlegaz": "ashtray dinner-plate bread-plate flashlight clothes-hanger tape-measure newspaper stapler",
        "scopia": "sushi_tray kitchen_tool1 kitchen_tool2 kitchen_tool3 kitchen_tool4 tray pencil1 pencil2 "
        "bandeja com_bath2_cepillo com_bath2_esponja com_bath2_peineta com_bath3_toalla glasses medicoscopia_bottle "
        "medicoscopia_bottle2 medicoscopia_box basic_camera sneakers reflex_camera woman_shoes wall-hanger mocassin "
        "tablet robe short-shadows pantalon-shadows blouson jupe jupe-doeskin chaussette montre-with-pose montre bague "
        "ensemble-assiette-couteau-fourchette-cuillere-verre scie-egoine rouleau-de-ruban-adhesif perceuse-electrique "
        "marteau tournevis meuleuse-electrique gant-textured cendrier billet-10-euros billet-20-euros billet-50-euros "
        "keys CCTV smoke-detector tv-remote-control ps4-joystick electronicScale frenchFries steak pince-coupante",
    },
    "sockets and switches": {
        "scopia": "rounded-antenna rounded-dimmer rounded-double-switch rounded-plug-TypeA rounded-plug-TypeB "
        "rounded-plug-TypeCFlat rounded-plug-TypeE rounded-plug-TypeG rounded-RJ-45 rounded-switch square-antenna "
        "square-dimmer square-double-switch square-plug-TypeA square-plug-TypeB square-plug-TypeCFlat "
        "square-plug-TypeE square-plug-TypeG square-RJ-45 square-switch antenna-whites dimmer-whites "
        "double-switch-whites plug-TypeA-whites plug-TypeB-whites plug-TypeCFlat-whites plug-TypeE-whites "
        "plug-TypeG-whites RJ-45-whites switch-whites",
    },
    "needs a place of its own": {  # hung or fitted in a way that no placement rule has
        "blendswap-cc-0": "shower showerDoor toiletBrush toiletPaperDispenser towel2 tennisRacket ceilingFan urinal "
        "cuckooClock islandExtension lowerCornerCabinet upperCornerCabinet",
        "blendswap-cc-by": "suit towel surveillanceCamera",
        "katorlegaz": "bathroom-tissue hanging-clothes1 hanging-clothes2 showerCurtain showerHeadAndFaucet",
        "scopia": "dart_game intercom intercom_with_screen small-urinal water_cooler",
    },
    "more than 60,000 faces": {
        "blendswap-cc-by": "white_lily chessboard",
        "scopia": "chandelier-lamp calla_lily_with_roses",
    },
}


def _keys(library: str, names: str) -> list[str]:
    return [f"{library}/{name}" for name in names.split()]


def _by_model(tables: Mapping[str, Mapping[Kind, str]]) -> dict[str, Kind]:
    return {
        key: kind for library, table in tables.items() for kind, names in table.items() for key in _keys(library, names)
    }


KIND_OF_MODEL: dict[str, Kind] = _by_model(
    {
        "blendswap-cc-0": _BLENDSWAP_CC_0,
        "blendswap-cc-by": _BLENDSWAP_CC_BY,
        "katorlegaz": _KATORLEGAZ,
        "scopia": _SCOPIA,
    }
)

REASON_LEFT_OUT: dict[str, str] = {
    key: reason
    for reason, libraries in _LEFT_OUT.items()
    for library, names in libraries.items()
    for key in _keys(library, names)
}
